-- People, sessions, clients, authorization codes and signing keys.
--
-- Every table has forced row-level security by tenant; troth_app owns none of them. Each hot operation is one
-- function, SECURITY INVOKER: it sets the context and works in a single round trip. Times are the database's,
-- so that all instances go by one clock.

-- The hash of the secret that a caller presents (a cookie or a code). Whoever holds the secret may see its
-- row even from another domain: only so can a cookie that was carried elsewhere be recognised and reported.
create function troth.context_presented() returns bytea
language sql stable parallel safe
return decode(nullif(current_setting('troth.presented', true), ''), 'hex');

create table troth.role (
    tenant_id uuid references troth.tenant,
    name text not null,
    scopes text[] not null,
    unique nulls not distinct (tenant_id, name)
);
comment on column troth.role.tenant_id is 'null: a role of the platform, offered to every tenant';

create table troth.person (
    id uuid primary key,
    tenant_id uuid not null references troth.tenant,
    email_index bytea not null,
    profile bytea not null,
    password_hash text,
    password_shape text generated always as (regexp_replace(password_hash, '[^$]*$', '')) stored,
    roles text[] not null default '{}',
    disabled boolean not null default false,
    sessions_from timestamptz not null default '-infinity',
    created_at timestamptz not null default now(),
    unique (tenant_id, email_index)
);
comment on column troth.person.password_shape is 'scheme, rounds and salt: what proves how well it is hashed';
comment on column troth.person.profile is 'sealed: e-mail address and name';
comment on column troth.person.sessions_from is 'sessions begun before this instant are over';

create table troth.client (
    tenant_id uuid not null references troth.tenant,
    id text not null check (id <> 'session'), -- the name of a domain's own application in its tokens
    name text not null,
    redirect_uris text[] not null,
    scopes text[] not null,
    disabled boolean not null default false,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);

-- A browser's session holds the hash of its cookie. What a client was granted is a session too, a child
-- without a cookie: one test of liveness covers both, and a child dies with its parent.
create table troth.session (
    id uuid primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain,
    person_id uuid not null references troth.person on delete cascade,
    token_hash bytea unique,
    parent_id uuid references troth.session on delete cascade,
    client_id text,
    scopes text[],
    created_at timestamptz not null default now(),
    authenticated_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    idle interval not null,
    expires_at timestamptz not null,
    ended_at timestamptz,
    end_reason text,
    foreign key (tenant_id, client_id) references troth.client on delete cascade,
    check ((parent_id is null) = (token_hash is not null)),
    check ((parent_id is null) = (client_id is null))
);
create index session_parent on troth.session (parent_id) where parent_id is not null;
create index session_person on troth.session (person_id);
create index session_expiry on troth.session (expires_at);

-- What a person agreed to for a client, for as long as the session lasts.
create table troth.consent (
    tenant_id uuid not null references troth.tenant,
    session_id uuid not null references troth.session on delete cascade,
    client_id text not null,
    scopes text[] not null,
    primary key (session_id, client_id),
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);

create table troth.authorization_code (
    code_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain,
    client_id text not null,
    session_id uuid not null references troth.session on delete cascade,
    redirect_uri text not null,
    scopes text[] not null,
    challenge text not null,
    nonce text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    redeemed_at timestamptz,
    grant_id uuid,
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);
comment on column troth.authorization_code.grant_id is 'the session that the code was exchanged for';
create index authorization_code_expiry on troth.authorization_code (expires_at);

create table troth.signing_key (
    kid text primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain,
    private_key bytea not null,
    public_jwk jsonb not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz
);
comment on column troth.signing_key.private_key is 'sealed';
create unique index signing_key_current on troth.signing_key (domain) where retired_at is null;

do $$
declare
    name text;
begin
    foreach name in array array['role', 'person', 'client', 'session', 'consent', 'authorization_code',
                                'signing_key']
    loop
        execute format('alter table troth.%I enable row level security', name);
        execute format('alter table troth.%I force row level security', name);
        execute format(
            'create policy own_tenant on troth.%I
                using (tenant_id = (select troth.context_tenant()))
                with check (tenant_id = (select troth.context_tenant()))', name);
    end loop;
end $$;

create policy of_the_platform on troth.role for select using (tenant_id is null);
create policy by_the_operator on troth.role to troth_owner
    using (tenant_id is null) with check (tenant_id is null);
create policy by_its_holder on troth.session for select
    using (token_hash = (select troth.context_presented()));

-- A session is kept for a week after its end, to be told by; whoever would delete a younger one finds none.
create policy only_long_over on troth.session as restrictive for delete
    using (expires_at < now() - interval '7 days');

-- What ended stays ended. The sweep locks what it deletes, and locking asks this policy too.
create policy ended_for_good on troth.session as restrictive for update to troth_app
    using (ended_at is null or expires_at < now() - interval '7 days') with check (true);

-- Column by column: an instance that was taken over can give nobody another role, bring no disabled account
-- back, and make no session last longer. People are added and changed by the operator's commands alone.
grant select on troth.role, troth.client to troth_app;
grant select, update (password_hash) on troth.person to troth_app;
grant select, insert, update (seen_at, ended_at, end_reason), delete on troth.session to troth_app;
grant select, insert, update (scopes), delete on troth.consent to troth_app;
grant select, insert, update (redeemed_at, grant_id), delete on troth.authorization_code to troth_app;
grant select, insert, update (retired_at) on troth.signing_key to troth_app;

-- The probes see the shape of what is stored, never what is sealed, never a hash that opens a session or that
-- a password can be guessed against.
grant select on troth.role, troth.client to troth_auditor;
grant select (id, tenant_id, password_shape, roles, disabled, sessions_from, created_at)
    on troth.person to troth_auditor;
grant select (id, tenant_id, domain, person_id, parent_id, client_id, scopes, created_at, authenticated_at,
              seen_at, idle, expires_at, ended_at, end_reason)
    on troth.session to troth_auditor;
grant select (tenant_id, domain, client_id, session_id, redirect_uri, scopes, created_at, expires_at,
              redeemed_at, grant_id)
    on troth.authorization_code to troth_auditor;
grant select (kid, tenant_id, domain, public_jwk, created_at, retired_at)
    on troth.signing_key to troth_auditor;

-- The operator's commands leave their trace like everybody's.
create policy append_by_the_operator on troth.audit_event for insert to troth_owner with check (true);

-- Context ---------------------------------------------------------------------------------------------------

-- Sets the tenant of this domain for the transaction; null when the domain is unknown. Whether the tenant is
-- active is session_alive's to say: one can log out of a suspended tenant.
create function troth.enter_domain(p_domain text) returns uuid
language plpgsql as $$
declare
    v_tenant uuid;
begin
    select d.tenant_id into v_tenant from troth.domain d where d.name = p_domain;
    perform set_config('troth.tenant', coalesce(v_tenant::text, ''), true);
    return v_tenant;
end $$;

create function troth.record(
    p_event text, p_tenant uuid, p_principal uuid, p_domain text, p_request text, p_detail jsonb default '{}'
) returns void
language sql as $$
    insert into troth.audit_event (id, tenant_id, event, principal, domain, request_id, detail)
    values (gen_random_uuid(), p_tenant, p_event, p_principal, p_domain, p_request, p_detail);
$$;

-- Sessions --------------------------------------------------------------------------------------------------

-- Sessions that have not ended and whose person and tenant are active, seen with the reader's own rights. A
-- grant under a session depends on more, see session_alive; what has no parent is alive if it is here.
create view troth.lasting_session with (security_invoker = true) as
    select s.id, s.tenant_id, s.parent_id, s.client_id
    from troth.session s
    join troth.person p on p.id = s.person_id
    join troth.tenant t on t.id = s.tenant_id
    where s.ended_at is null
      and s.expires_at > now()
      and s.seen_at + s.idle > now()
      and s.created_at >= p.sessions_from
      and not p.disabled
      and t.active;
grant select on troth.lasting_session to troth_app;

-- Whether a session, or a grant under one, is alive at this moment. The tenant's context must be set. Every
-- API call asks this in its own round trip: no cache can outlive a logout. PL/pgSQL, because a connection then
-- keeps its plan: as an SQL function it was planned anew in each transaction, 1.3 ms instead of 0.1.
create function troth.session_alive(p_session uuid) returns boolean
language plpgsql stable as $$
declare
    v_parent uuid;
    v_client text;
begin
    select s.parent_id, s.client_id into v_parent, v_client
    from troth.lasting_session s
    where s.id = p_session and s.tenant_id = troth.context_tenant();
    if not found or v_parent is null then
        return found;
    end if;
    -- A grant lives no longer than the session it was given under, and while its client may be used.
    return exists (select from troth.lasting_session s where s.id = v_parent)
        and exists (
            select from troth.client c
            where c.tenant_id = troth.context_tenant() and c.id = v_client and not c.disabled);
end $$;

create function troth.scopes_of(p_roles text[]) returns text[]
language plpgsql stable as $$
begin
    return (select coalesce(array_agg(distinct scope order by scope), '{}')
            from troth.role r, unnest(r.scopes) scope
            where r.name = any (p_roles));
end $$;

create type troth.open_session as (
    outcome text,
    id uuid,
    tenant_id uuid,
    domain text,
    person_id uuid,
    profile bytea,
    person_scopes text[],
    client_id text,
    scopes text[],
    authenticated_at timestamptz,
    expires_at timestamptz
);

create function troth.describe_session(p_session uuid) returns troth.open_session
language plpgsql stable as $$
declare
    v_open troth.open_session;
begin
    select 'open', s.id, s.tenant_id, s.domain, p.id, p.profile, troth.scopes_of(p.roles), s.client_id,
           s.scopes, s.authenticated_at, s.expires_at
    into v_open
    from troth.session s join troth.person p on p.id = s.person_id
    where s.id = p_session;
    return v_open;
end $$;

-- Opens the session of a cookie. outcome: open | none | over | elsewhere (the cookie of another domain, which
-- is recorded with the tenant it was taken from). Use is noted once a minute, without waiting for standbys:
-- losing that note in a failover makes a session end sooner, never later.
create function troth.open_session_by_token(p_domain text, p_hash bytea, p_request text default null)
returns troth.open_session
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.session;
    v_open troth.open_session;
begin
    perform set_config('troth.presented', encode(p_hash, 'hex'), true);
    select * into v_row from troth.session where token_hash = p_hash;
    if not found or v_tenant is null then
        v_open.outcome := 'none';
        return v_open;
    end if;
    if v_row.domain <> p_domain then
        perform troth.record('session.cookie_elsewhere', v_row.tenant_id, v_row.person_id, p_domain, p_request,
                             jsonb_build_object('session', v_row.id, 'belongs_to', v_row.domain));
        v_open.outcome := 'elsewhere';
        return v_open;
    end if;
    if not troth.session_alive(v_row.id) then
        v_open.outcome := 'over';
        return v_open;
    end if;
    if v_row.seen_at < now() - least(interval '1 minute', v_row.idle / 4) then
        perform set_config('synchronous_commit', 'local', true);
        update troth.session set seen_at = now() where id = v_row.id and seen_at = v_row.seen_at;
    end if;
    return troth.describe_session(v_row.id);
end $$;

-- The living session behind an access token. outcome: open | over.
create function troth.open_session_by_id(p_domain text, p_session uuid) returns troth.open_session
language plpgsql as $$
declare
    v_open troth.open_session;
begin
    perform troth.enter_domain(p_domain);
    if troth.session_alive(p_session) then
        v_open := troth.describe_session(p_session);
        if v_open.domain = p_domain then
            return v_open;
        end if;
    end if;
    v_open := null;
    v_open.outcome := 'over';
    return v_open;
end $$;

-- Ends a session and everything granted under it.
create function troth.end_session_tree(p_session uuid, p_reason text) returns boolean
language plpgsql as $$
begin
    update troth.session set ended_at = now(), end_reason = p_reason
    where (id = p_session or parent_id = p_session) and ended_at is null;
    return found;
end $$;

-- Begins a session at sign-in; the one that the browser held before ends (session fixation). Repeating the
-- call with the same id changes nothing, so it survives a failover. Old sessions are swept along the way.
-- p_verified is the password's hash as it was checked: one that was changed meanwhile begins nothing, else who
-- knows the old one could sign in just before and stay.
create function troth.begin_session(
    p_domain text, p_id uuid, p_hash bytea, p_person uuid, p_idle interval, p_absolute interval,
    p_previous bytea default null, p_request text default null, p_verified text default null
) returns troth.open_session
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_open troth.open_session;
    v_old uuid;
begin
    if p_previous is not null then
        select id into v_old from troth.session where token_hash = p_previous and domain = p_domain;
        if found then
            perform troth.end_session_tree(v_old, 'rotated');
        end if;
    end if;
    delete from troth.session
    where id in (select id from troth.session
                 where expires_at < now() - interval '7 days' limit 16 for update skip locked);
    insert into troth.session (id, tenant_id, domain, person_id, token_hash, idle, expires_at)
    select p_id, v_tenant, p_domain, p.id, p_hash, p_idle, now() + p_absolute
    from troth.person p
    where p.id = p_person and not p.disabled and (p_verified is null or p.password_hash = p_verified)
    for share -- waits for a change that is about to be committed, and then looks again
    on conflict (id) do nothing;
    if found then
        perform troth.record('session.begun', v_tenant, p_person, p_domain, p_request,
                             jsonb_build_object('session', p_id));
    end if;
    if troth.session_alive(p_id) then
        return troth.describe_session(p_id);
    end if;
    v_open.outcome := 'over';
    return v_open;
end $$;

-- Logout. True when a session of this domain ended by it.
create function troth.end_session(p_domain text, p_hash bytea, p_request text default null) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.session;
begin
    select * into v_row from troth.session where token_hash = p_hash and domain = p_domain;
    if not found or not troth.end_session_tree(v_row.id, 'logout') then
        return false;
    end if;
    perform troth.record('session.ended', v_tenant, v_row.person_id, p_domain, p_request,
                         jsonb_build_object('session', v_row.id, 'reason', 'logout'));
    return true;
end $$;

-- Ends what one client was granted (RFC 7009); a session of a browser is not a client's to end.
create function troth.end_grant(p_domain text, p_session uuid, p_client text, p_request text default null)
returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.session;
begin
    select * into v_row from troth.session
    where id = p_session and domain = p_domain and client_id = p_client;
    if not found or not troth.end_session_tree(v_row.id, 'revoked') then
        return false;
    end if;
    perform troth.record('grant.revoked', v_tenant, v_row.person_id, p_domain, p_request,
                         jsonb_build_object('session', v_row.id, 'client', p_client));
    return true;
end $$;

-- Sign-in ---------------------------------------------------------------------------------------------------

create function troth.find_person(p_domain text, p_email_index bytea)
returns table (id uuid, password_hash text, disabled boolean)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select p.id, p.password_hash, p.disabled from troth.person p where p.email_index = p_email_index;
end $$;

create function troth.record_failed_sign_in(p_domain text, p_person uuid, p_request text, p_reason text)
returns void
language plpgsql as $$
begin
    perform troth.record('sign_in.failed', troth.enter_domain(p_domain), p_person, p_domain, p_request,
                         jsonb_build_object('reason', p_reason));
end $$;

-- Stores a stronger hash of the same password; only over the hash that was verified (lost update).
create function troth.upgrade_password(p_domain text, p_person uuid, p_old text, p_new text) returns boolean
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    update troth.person set password_hash = p_new where id = p_person and password_hash = p_old;
    return found;
end $$;

-- The person who has this address already stays as they are; returns whose id it is.
create function troth.add_person(
    p_tenant uuid, p_id uuid, p_email_index bytea, p_profile bytea, p_password_hash text, p_roles text[]
) returns uuid
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    insert into troth.person (id, tenant_id, email_index, profile, password_hash, roles)
    values (p_id, p_tenant, p_email_index, p_profile, p_password_hash, p_roles)
    on conflict (tenant_id, email_index) do nothing;
    return (select p.id from troth.person p
            where p.tenant_id = p_tenant and p.email_index = p_email_index);
end $$;

-- A new password, a disabled account: whatever was begun before is over.
create function troth.set_password(p_tenant uuid, p_person uuid, p_password_hash text) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set password_hash = p_password_hash, sessions_from = now() where id = p_person;
    perform troth.record('password.changed', p_tenant, p_person, null, null);
end $$;

create function troth.set_disabled(p_tenant uuid, p_person uuid, p_disabled boolean) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set disabled = p_disabled, sessions_from = now() where id = p_person;
    perform troth.record(case when p_disabled then 'person.disabled' else 'person.enabled' end,
                         p_tenant, p_person, null, null);
end $$;

-- Authorization ---------------------------------------------------------------------------------------------

create function troth.find_client(p_domain text, p_client text)
returns table (id text, name text, redirect_uris text[], scopes text[])
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select c.id, c.name, c.redirect_uris, c.scopes from troth.client c
        where c.id = p_client and not c.disabled;
end $$;

create function troth.consented(p_domain text, p_session uuid, p_client text) returns text[]
language plpgsql as $$
declare
    v_scopes text[];
begin
    perform troth.enter_domain(p_domain);
    select c.scopes into v_scopes from troth.consent c
    where c.session_id = p_session and c.client_id = p_client;
    return coalesce(v_scopes, '{}');
end $$;

create function troth.remember_consent(
    p_domain text, p_session uuid, p_client text, p_scopes text[], p_request text default null
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_person uuid := (select person_id from troth.session where id = p_session and domain = p_domain);
begin
    insert into troth.consent (tenant_id, session_id, client_id, scopes)
    values (v_tenant, p_session, p_client, p_scopes)
    on conflict (session_id, client_id) do update set scopes = excluded.scopes;
    perform troth.record('consent.given', v_tenant, v_person, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'scopes', p_scopes));
end $$;

-- False when the session ended in the meantime. Codes that are long past use are swept along the way.
create function troth.issue_code(
    p_domain text, p_hash bytea, p_session uuid, p_client text, p_redirect_uri text, p_scopes text[],
    p_challenge text, p_nonce text, p_lifetime interval
) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if not troth.session_alive(p_session) then
        return false;
    end if;
    delete from troth.authorization_code
    where code_hash in (select code_hash from troth.authorization_code
                        where expires_at < now() - interval '1 day' limit 16 for update skip locked);
    insert into troth.authorization_code (code_hash, tenant_id, domain, client_id, session_id, redirect_uri,
                                          scopes, challenge, nonce, expires_at)
    values (p_hash, v_tenant, p_domain, p_client, p_session, p_redirect_uri, p_scopes, p_challenge, p_nonce,
            now() + p_lifetime)
    on conflict (code_hash) do nothing;
    return true;
end $$;

create type troth.redeemed_code as (
    outcome text,
    session_id uuid,
    person_id uuid,
    scopes text[],
    nonce text,
    authenticated_at timestamptz
);

-- Exchanges a code for a session of the client. One UPDATE consumes it: of any number of callers at once, one
-- wins. It is consumed before the verifier is compared, so that a verifier cannot be guessed at.
-- OAuth 2.1 lets a client leave the redirect URI out here, for PKCE does its work; one that is sent must match.
-- outcome: granted | unknown | expired | replayed (what the code had given ends) | mismatch | over.
-- The caller chooses p_grant: a repetition after a failover is recognised by it and is not a replay.
create function troth.redeem_code(
    p_domain text, p_hash bytea, p_client text, p_redirect_uri text, p_challenge text, p_grant uuid,
    p_request text default null
) returns troth.redeemed_code
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_code troth.authorization_code;
    v_parent troth.session;
    v_out troth.redeemed_code;
begin
    update troth.authorization_code set redeemed_at = now(), grant_id = p_grant
    where code_hash = p_hash and domain = p_domain and client_id = p_client
      and (redeemed_at is null or grant_id = p_grant)
    returning * into v_code;
    if not found then
        return troth.refuse_code(v_tenant, p_domain, p_hash, p_client, p_request);
    end if;
    if v_code.expires_at <= now() then
        v_out.outcome := 'expired';
    elsif v_code.redirect_uri <> coalesce(p_redirect_uri, v_code.redirect_uri)
          or v_code.challenge <> p_challenge then
        v_out.outcome := 'mismatch';
    elsif not troth.session_alive(v_code.session_id) then
        v_out.outcome := 'over';
    end if;
    select * into v_parent from troth.session where id = v_code.session_id;
    if v_out.outcome is not null then
        perform troth.record('code.refused', v_tenant, v_parent.person_id, p_domain, p_request,
                             jsonb_build_object('client', p_client, 'reason', v_out.outcome));
        return v_out;
    end if;
    insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, scopes,
                               authenticated_at, idle, expires_at)
    values (p_grant, v_tenant, p_domain, v_parent.person_id, v_parent.id, p_client, v_code.scopes,
            v_parent.authenticated_at, v_parent.expires_at - now(), v_parent.expires_at)
    on conflict (id) do nothing;
    if found then
        perform troth.record('grant.begun', v_tenant, v_parent.person_id, p_domain, p_request,
                             jsonb_build_object('client', p_client, 'session', p_grant));
    end if;
    return ('granted', p_grant, v_parent.person_id, v_code.scopes, v_code.nonce,
            v_parent.authenticated_at)::troth.redeemed_code;
end $$;

-- Tells an unknown code from a used one; a used one ends what it gave (RFC 6749 section 4.1.2).
create function troth.refuse_code(
    p_tenant uuid, p_domain text, p_hash bytea, p_client text, p_request text
) returns troth.redeemed_code
language plpgsql as $$
declare
    v_code troth.authorization_code;
    v_out troth.redeemed_code;
begin
    select * into v_code from troth.authorization_code
    where code_hash = p_hash and domain = p_domain and client_id = p_client;
    if not found then
        v_out.outcome := 'unknown';
        return v_out;
    end if;
    perform troth.end_session_tree(v_code.grant_id, 'code replayed');
    perform troth.record('code.replayed', p_tenant, null, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'session', v_code.grant_id));
    v_out.outcome := 'replayed';
    return v_out;
end $$;

-- Signing keys ----------------------------------------------------------------------------------------------

-- Keys of a domain: the current one, and retired ones for as long as tokens they signed may live.
create function troth.signing_keys(p_domain text, p_overlap interval)
returns table (kid text, private_key bytea, public_jwk jsonb, retired boolean)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select k.kid, k.private_key, k.public_jwk, k.retired_at is not null from troth.signing_key k
        where k.domain = p_domain and (k.retired_at is null or k.retired_at > now() - p_overlap)
        order by k.retired_at nulls first, k.created_at desc;
end $$;

-- Adds the first key of a domain, or with p_rotate a new one in place of the current. When two instances add
-- the first at once, one of them stays.
create function troth.add_signing_key(
    p_domain text, p_kid text, p_private bytea, p_public jsonb, p_rotate boolean default false
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if p_rotate then
        update troth.signing_key set retired_at = now()
        where domain = p_domain and retired_at is null and kid <> p_kid;
    end if;
    insert into troth.signing_key (kid, tenant_id, domain, private_key, public_jwk)
    values (p_kid, v_tenant, p_domain, p_private, p_public)
    on conflict do nothing;
end $$;
