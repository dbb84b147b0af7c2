-- Every token after the authorization code: refresh families, sender-constrained tokens, device requests, and
-- signing keys that are published before they sign.

-- Grants ----------------------------------------------------------------------------------------------------

alter table troth.authorization_code
    add column jkt text,
    add column details jsonb;
comment on column troth.authorization_code.jkt is 'the key that has to redeem it (RFC 9449 section 10)';
comment on column troth.authorization_code.details is 'authorization_details that were agreed to (RFC 9396)';

alter table troth.session add column details jsonb;
comment on column troth.session.details is 'authorization_details of a grant (RFC 9396)';
grant select (details) on troth.session to troth_auditor;

-- What the functions below tell of a grant. `generation` is that of the refresh token to hand out; null:
-- none.
create type troth.grant_told as (
    outcome text,
    session_id uuid,
    person_id uuid,
    scopes text[],
    person_scopes text[],
    nonce text,
    authenticated_at timestamptz,
    amr text[],
    details jsonb,
    generation integer
);

-- All refresh tokens of one grant. A token says its family, its generation and the family's secret, under a
-- code (HMAC) that only we can make; so one row tells the one that is good from all that were before.
create table troth.refresh_family (
    session_id uuid primary key references troth.session on delete cascade,
    tenant_id uuid not null references troth.tenant,
    secret_hash bytea not null check (length(secret_hash) = 32),
    confirmation jsonb,
    generation integer not null default 0 check (generation >= 0),
    rotated_at timestamptz not null default now(),
    idle interval not null
);
comment on column troth.refresh_family.confirmation is 'the key or certificate that has to come along (cnf)';
comment on column troth.refresh_family.idle is 'a token that was not used for so long is over';

-- Numbers (jti) of DPoP proofs that were used, until they would be too old anyway.
create table troth.spent_proof (
    tenant_id uuid not null references troth.tenant,
    proof_hash bytea not null,
    expires_at timestamptz not null,
    primary key (tenant_id, proof_hash)
);
create index spent_proof_expiry on troth.spent_proof (expires_at);

create table troth.device_request (
    device_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain on delete cascade,
    client_id text not null,
    user_code_index bytea not null,
    scopes text[] not null,
    details jsonb,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    poll_seconds integer not null,
    polled_at timestamptz,
    decided_at timestamptz,
    session_id uuid references troth.session on delete cascade,
    granted_scopes text[],
    grant_id uuid,
    unique (domain, user_code_index),
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);
comment on column troth.device_request.user_code_index is 'HMAC: a code of 35 bits could be found from its
hash'; comment on column troth.device_request.granted_scopes is 'null: the person said no';
create index device_request_expiry on troth.device_request (expires_at);
create index device_request_client on troth.device_request (tenant_id, client_id);

-- Wrong user codes by one session, or from one network (RFC 8628 section 5.1).
create table troth.device_guess (
    tenant_id uuid not null references troth.tenant,
    guesser bytea not null,
    failures integer not null,
    since timestamptz not null default now(),
    primary key (tenant_id, guesser)
);
create index device_guess_since on troth.device_guess (since);

do $$
declare
    name text;
begin
    foreach name in array array['refresh_family', 'spent_proof', 'device_request', 'device_guess']
    loop
        execute format('alter table troth.%I enable row level security', name);
        execute format('alter table troth.%I force row level security', name);
        execute format(
            'create policy own_tenant on troth.%I
                using (tenant_id = (select troth.context_tenant()))
                with check (tenant_id = (select troth.context_tenant()))', name);
    end loop;
end $$;

-- A proof that was used stays used: an instance that was taken over cannot make it good again. The right to
-- update is what `for update` asks for; no row is ever updated.
create policy only_expired on troth.spent_proof as restrictive for delete to troth_app
    using (expires_at < now());
create policy never_changed on troth.spent_proof as restrictive for update to troth_app
    using (expires_at < now()) with check (false);

grant select, insert, update (generation, rotated_at) on troth.refresh_family to troth_app;
grant select, insert, update (expires_at), delete on troth.spent_proof to troth_app;
grant select, insert, delete,
    update (poll_seconds, polled_at, decided_at, session_id, granted_scopes, grant_id)
    on troth.device_request to troth_app;
grant select, insert, update (failures, since), delete on troth.device_guess to troth_app;
grant select (session_id, tenant_id, confirmation, generation, rotated_at, idle)
    on troth.refresh_family to troth_auditor;
grant select (tenant_id, domain, client_id, scopes, created_at, expires_at, decided_at, session_id,
              granted_scopes, grant_id)
    on troth.device_request to troth_auditor;

-- A refusal at the back channel, whatever the reason; the client is known, or what it called itself.
create function troth.record_refusal(p_domain text, p_event text, p_client text, p_request text, p_reason
text) returns void
language plpgsql as $$
begin
    perform troth.record(p_event, troth.enter_domain(p_domain), null, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'reason', p_reason));
end $$;

-- False when the session ended in the meantime. Codes that are long past use are swept along the way.
drop function troth.issue_code(text, bytea, uuid, text, text, text[], text, text, interval);
create function troth.issue_code(
    p_domain text, p_hash bytea, p_session uuid, p_client text, p_redirect_uri text, p_scopes text[],
    p_challenge text, p_nonce text, p_lifetime interval, p_jkt text default null, p_details jsonb default null
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
                                          scopes, challenge, nonce, expires_at, jkt, details)
    values (p_hash, v_tenant, p_domain, p_client, p_session, p_redirect_uri, p_scopes, p_challenge, p_nonce,
            now() + p_lifetime, p_jkt, p_details)
    on conflict (code_hash) do nothing;
    return true;
end $$;

-- Begins what a client is granted under a session. The caller chooses p_grant: a repetition after a failover
-- is recognised by it. With p_secret the grant has refresh tokens.
create function troth.begin_grant(
    p_domain text, p_grant uuid, p_session uuid, p_client text, p_scopes text[], p_details jsonb,
    p_secret bytea, p_confirmation jsonb, p_request text
) returns troth.grant_told
language plpgsql as $$
declare
    v_parent troth.session;
    v_out troth.grant_told;
begin
    select * into v_parent from troth.session where id = p_session;
    insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, scopes, details,
                               authenticated_at, idle, expires_at)
    values (p_grant, v_parent.tenant_id, p_domain, v_parent.person_id, v_parent.id, p_client, p_scopes,
            p_details, v_parent.authenticated_at, v_parent.expires_at - now(), v_parent.expires_at)
    on conflict (id) do nothing;
    if found then
        perform troth.record('grant.begun', v_parent.tenant_id, v_parent.person_id, p_domain, p_request,
                             jsonb_build_object('client', p_client, 'session', p_grant));
    end if;
    if p_secret is not null then
        insert into troth.refresh_family (session_id, tenant_id, secret_hash, confirmation, idle)
        values (p_grant, v_parent.tenant_id, p_secret, p_confirmation, v_parent.idle)
        on conflict (session_id) do nothing;
        v_out.generation := 0;
    end if;
    v_out.outcome := 'granted';
    v_out.session_id := p_grant;
    v_out.person_id := v_parent.person_id;
    v_out.scopes := p_scopes;
    v_out.authenticated_at := v_parent.authenticated_at;
    v_out.amr := v_parent.amr;
    v_out.details := p_details;
    return v_out;
end $$;

-- Exchanges a code for a session of the client. One UPDATE consumes it: of any number of callers at once, one
-- wins. It is consumed before verifier and key are compared, so that neither can be guessed at.
-- OAuth 2.1 lets a client leave the redirect URI out here, for PKCE does its work; one that is sent must
-- match.
-- outcome: granted | unknown | expired | replayed (what the code had given ends) | mismatch | over.
drop function troth.redeem_code(text, bytea, text, text, text, uuid, text);
drop function troth.refuse_code(uuid, text, bytea, text, text);
drop type troth.redeemed_code;
create function troth.redeem_code(
    p_domain text, p_hash bytea, p_client text, p_redirect_uri text, p_challenge text, p_grant uuid,
    p_secret bytea, p_jkt text, p_confirmation jsonb, p_request text default null
) returns troth.grant_told
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_code troth.authorization_code;
    v_out troth.grant_told;
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
          or v_code.challenge <> p_challenge
          or (v_code.jkt is not null and v_code.jkt is distinct from p_jkt) then
        v_out.outcome := 'mismatch';
    elsif not troth.session_alive(v_code.session_id) then
        v_out.outcome := 'over';
    end if;
    if v_out.outcome is not null then
        perform troth.record('code.refused', v_tenant, (select person_id from troth.session
                                                        where id = v_code.session_id), p_domain, p_request,
                             jsonb_build_object('client', p_client, 'reason', v_out.outcome));
        return v_out;
    end if;
    v_out := troth.begin_grant(p_domain, p_grant, v_code.session_id, p_client, v_code.scopes, v_code.details,
                               p_secret, p_confirmation, p_request);
    v_out.nonce := v_code.nonce;
    return v_out;
end $$;

-- Tells an unknown code from a used one; a used one ends what it gave (RFC 6749 section 4.1.2).
create function troth.refuse_code(
    p_tenant uuid, p_domain text, p_hash bytea, p_client text, p_request text
) returns troth.grant_told
language plpgsql as $$
declare
    v_code troth.authorization_code;
    v_out troth.grant_told;
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

-- Refresh ---------------------------------------------------------------------------------------------------

-- Exchanges a refresh token for its successor. One UPDATE rotates: of any number of callers at once, one
-- wins.
-- outcome: renewed | repeated (the same successor again: it was asked for within p_window of the rotation and
-- has not been used) | replayed (the whole family ends) | foreign | unbound | idle | over.
create function troth.renew_grant(
    p_domain text, p_session uuid, p_generation integer, p_secret bytea, p_client text, p_confirmation jsonb,
    p_window interval, p_request text default null
) returns troth.grant_told
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_out troth.grant_told;
begin
    update troth.refresh_family f set generation = f.generation + 1, rotated_at = now()
    where f.session_id = p_session and f.generation = p_generation and f.secret_hash = p_secret
      and f.confirmation is not distinct from p_confirmation and f.rotated_at + f.idle > now()
      and exists (select from troth.session s
                  where s.id = p_session and s.client_id = p_client and s.domain = p_domain)
      and troth.session_alive(p_session);
    v_out.outcome := case when found then 'renewed'
                     else troth.unrenewed(v_tenant, p_domain, p_session, p_generation, p_secret, p_client,
                                          p_confirmation, p_window, p_request) end;
    if v_out.outcome not in ('renewed', 'repeated') then
        return v_out;
    end if;
    select v_out.outcome, s.id, p.id, s.scopes, troth.scopes_of(p.roles), null, s.authenticated_at, s.amr,
           s.details, p_generation + 1
    into v_out
    from troth.session s join troth.person p on p.id = s.person_id
    where s.id = p_session;
    return v_out;
end $$;

-- Why a token did not rotate its family. Looks again, for another caller may have rotated it just now.
create function troth.unrenewed(
    p_tenant uuid, p_domain text, p_session uuid, p_generation integer, p_secret bytea, p_client text,
    p_confirmation jsonb, p_window interval, p_request text
) returns text
language plpgsql as $$
declare
    v_family troth.refresh_family;
    v_session troth.session;
    v_outcome text;
begin
    select * into v_session from troth.session where id = p_session;
    select * into v_family from troth.refresh_family where session_id = p_session;
    v_outcome := case
        when v_family.session_id is null or v_session.domain <> p_domain or v_session.client_id <> p_client
             or v_family.secret_hash <> p_secret or p_generation > v_family.generation then 'foreign'
        when not troth.session_alive(p_session) then 'over'
        when v_family.confirmation is distinct from p_confirmation then 'unbound'
        when v_family.rotated_at + v_family.idle <= now() then 'idle'
        when p_generation = v_family.generation - 1 and v_family.rotated_at > now() - p_window then 'repeated'
        else 'replayed' end;
    if v_outcome = 'replayed' then
        perform troth.end_session_tree(p_session, 'refresh token replayed');
    end if;
    perform troth.record('refresh.' || v_outcome, p_tenant, v_session.person_id, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'session', p_session));
    return v_outcome;
end $$;

-- The grant of a refresh token that is this client's and would be exchanged now; else outcome is null.
create function troth.refresh_alive(
    p_domain text, p_session uuid, p_generation integer, p_secret bytea, p_client text
) returns troth.grant_told
language plpgsql as $$
declare
    v_out troth.grant_told;
begin
    perform troth.enter_domain(p_domain);
    select 'alive', s.id, s.person_id, s.scopes, null, null, s.authenticated_at, s.amr, s.details,
    f.generation into v_out
    from troth.refresh_family f join troth.session s on s.id = f.session_id
    where f.session_id = p_session and f.generation = p_generation and f.secret_hash = p_secret
      and f.rotated_at + f.idle > now() and s.client_id = p_client and s.domain = p_domain
      and troth.session_alive(p_session);
    return v_out;
end $$;

-- Proofs ----------------------------------------------------------------------------------------------------

-- True once for each proof, on all instances together. Not waiting for standbys: what a failover forgets can
-- be used again only with its nonce, for a minute, and only by who read the whole request.
create function troth.spend_proof(p_domain text, p_hash bytea, p_lifetime interval) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    perform set_config('synchronous_commit', 'local', true);
    delete from troth.spent_proof
    where proof_hash in (select proof_hash from troth.spent_proof
                         where expires_at < now() limit 16 for update skip locked);
    insert into troth.spent_proof (tenant_id, proof_hash, expires_at)
    values (v_tenant, p_hash, now() + p_lifetime)
    on conflict do nothing;
    return found;
end $$;

-- Devices ---------------------------------------------------------------------------------------------------

-- outcome: begun | taken (a living request has this user code) | full.
create function troth.begin_device(
    p_domain text, p_hash bytea, p_index bytea, p_client text, p_scopes text[], p_details jsonb,
    p_lifetime interval, p_poll integer, p_most integer
) returns text
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    delete from troth.device_request
    where device_hash in (select device_hash from troth.device_request
                          where expires_at < now() - interval '1 hour' limit 16 for update skip locked);
    if (select count(*) from (select from troth.device_request
                              where client_id = p_client and expires_at > now() limit p_most) open) >= p_most
                              then
        return 'full';
    end if;
    insert into troth.device_request (device_hash, tenant_id, domain, client_id, user_code_index, scopes,
                                      details, expires_at, poll_seconds)
    values (p_hash, v_tenant, p_domain, p_client, p_index, p_scopes, p_details, now() + p_lifetime, p_poll)
    on conflict do nothing;
    return case when exists (select from troth.device_request where device_hash = p_hash)
           then 'begun' else 'taken' end;
end $$;

-- outcome: pending | slow_down | denied | expired | unknown | over | replayed (what it gave ends) | granted.
create function troth.poll_device(
    p_domain text, p_hash bytea, p_client text, p_grant uuid, p_secret bytea, p_confirmation jsonb,
    p_request text default null
) returns troth.grant_told
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.device_request;
    v_out troth.grant_told;
begin
    select * into v_row from troth.device_request
    where device_hash = p_hash and domain = p_domain and client_id = p_client for update;
    v_out.outcome := case
        when not found then 'unknown'
        when v_row.grant_id = p_grant then null
        when v_row.grant_id is not null then 'replayed'
        when v_row.expires_at <= now() then 'expired'
        when v_row.decided_at is null and v_row.polled_at + v_row.poll_seconds * interval '1 second' > now()
            then 'slow_down'
        when v_row.decided_at is null then 'pending'
        when v_row.granted_scopes is null then 'denied'
        when not troth.session_alive(v_row.session_id) then 'over'
        else null end;
    if v_out.outcome in ('pending', 'slow_down') then
        -- RFC 8628 section 3.5: five seconds more for whoever asks too soon.
        update troth.device_request
        set polled_at = now(),
            poll_seconds = least(poll_seconds + case v_out.outcome when 'slow_down' then 5 else 0 end, 60)
        where device_hash = p_hash;
    elsif v_out.outcome = 'replayed' then
        perform troth.end_session_tree(v_row.grant_id, 'device code replayed');
        perform troth.record('device.replayed', v_tenant, null, p_domain, p_request,
                             jsonb_build_object('client', p_client, 'session', v_row.grant_id));
    end if;
    if v_out.outcome is not null then
        return v_out;
    end if;
    update troth.device_request set grant_id = p_grant where device_hash = p_hash;
    return troth.begin_grant(p_domain, p_grant, v_row.session_id, p_client, v_row.granted_scopes,
                             v_row.details, p_secret, p_confirmation, p_request);
end $$;

-- The undecided request of a user code, for a person who is signed in. Whoever guessed wrong too often finds
-- nothing for the rest of p_span; counting and looking are one, so that guesses at once do not slip through.
-- outcome: found | unknown | stopped.
create function troth.find_device(
    p_domain text, p_index bytea, p_guessers bytea[], p_most integer[], p_span interval, p_person uuid,
    p_request text default null
) returns table (outcome text, client_id text, client_name text, scopes text[], details jsonb)
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_stopped boolean;
begin
    delete from troth.device_guess
    where (tenant_id, guesser) in (select g.tenant_id, g.guesser from troth.device_guess g
                                   where g.since < now() - p_span limit 16 for update skip locked);
    insert into troth.device_guess as g (tenant_id, guesser, failures)
    select v_tenant, one.guesser, 1 from unnest(p_guessers) with ordinality one (guesser, at) order by 2
    on conflict on constraint device_guess_pkey do update
        set failures = case when g.since < now() - p_span then 1 else g.failures + 1 end,
            since = case when g.since < now() - p_span then now() else g.since end;
    select bool_or(g.failures > one.most) into v_stopped
    from unnest(p_guessers, p_most) one (guesser, most)
    join troth.device_guess g on g.tenant_id = v_tenant and g.guesser = one.guesser;
    if v_stopped then
        perform troth.record('device.guessing_stopped', v_tenant, p_person, p_domain, p_request);
        return query select 'stopped', null::text, null::text, null::text[], null::jsonb;
        return;
    end if;
    return query
        select 'found', d.client_id, c.name, d.scopes, d.details
        from troth.device_request d join troth.client c on c.tenant_id = d.tenant_id and c.id = d.client_id
        where d.domain = p_domain and d.user_code_index = p_index and d.decided_at is null
          and d.expires_at > now() and not c.disabled;
    if found then
        update troth.device_guess g set failures = g.failures - 1
        where g.tenant_id = v_tenant and g.guesser = any (p_guessers);
        return;
    end if;
    perform troth.record('device.unknown_code', v_tenant, p_person, p_domain, p_request);
    return query select 'unknown', null::text, null::text, null::text[], null::jsonb;
end $$;

-- The person's answer, once; p_scopes is null for no. False when there is nothing to answer any more.
create function troth.decide_device(
    p_domain text, p_index bytea, p_session uuid, p_scopes text[], p_request text default null
) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.device_request;
begin
    if not troth.session_alive(p_session) then
        return false;
    end if;
    update troth.device_request d set decided_at = now(), session_id = p_session, granted_scopes = p_scopes
    where d.domain = p_domain and d.user_code_index = p_index and d.decided_at is null and d.expires_at >
    now() returning * into v_row;
    if not found then
        return false;
    end if;
    perform troth.record(case when p_scopes is null then 'device.denied' else 'device.approved' end, v_tenant,
                         (select s.person_id from troth.session s where s.id = p_session), p_domain,
                         p_request, jsonb_build_object('client', v_row.client_id, 'session', p_session,
                                            'scopes', p_scopes));
    return true;
end $$;

-- Signing keys ----------------------------------------------------------------------------------------------

alter table troth.signing_key add column signs_from timestamptz not null default now();
comment on column troth.signing_key.signs_from is 'it is published before: caches then know it when it signs';
comment on column troth.signing_key.retired_at is 'when its successor begins to sign, which may be still to
come'; grant select (signs_from) on troth.signing_key to troth_auditor;

-- Keys of a domain, the newest first: those to come, the one that signs, and retired ones for as long as
-- tokens they signed may live.
drop function troth.signing_keys(text, interval);
create function troth.signing_keys(p_domain text, p_overlap interval)
returns table (
    kid text, private_key bytea, public_jwk jsonb, signs_from timestamptz, retired_at timestamptz, signs
    boolean, age interval
)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select k.kid, k.private_key, k.public_jwk, k.signs_from, k.retired_at,
               k.signs_from <= now() and (k.retired_at is null or k.retired_at > now()), now() - k.signs_from
        from troth.signing_key k
        where k.domain = p_domain and (k.retired_at is null or k.retired_at > now() - p_overlap)
        order by k.signs_from desc, k.created_at desc;
end $$;

-- Adds the first key of a domain (p_after is null), or the successor of the key p_after, which signs for
-- p_ahead longer. Of any number of instances that rotate at once, one does.
drop function troth.add_signing_key(text, text, bytea, jsonb, boolean);
create function troth.add_signing_key(
    p_domain text, p_kid text, p_private bytea, p_public jsonb, p_after text default null,
    p_ahead interval default '0', p_request text default null
) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if p_after is not null then
        update troth.signing_key set retired_at = greatest(signs_from, now()) + p_ahead
        where domain = p_domain and kid = p_after and retired_at is null;
        if not found then
            return false;
        end if;
        perform troth.record('signing_key.rotated', v_tenant, null, p_domain, p_request,
                             jsonb_build_object('from', p_after, 'to', p_kid));
    end if;
    insert into troth.signing_key (kid, tenant_id, domain, private_key, public_jwk, signs_from)
    values (p_kid, v_tenant, p_domain, p_private, p_public,
            coalesce((select retired_at from troth.signing_key where kid = p_after), now()))
    on conflict do nothing;
    return found;
end $$;

-- The keys before the current one are known to somebody else: nothing that they signed counts any more.
create function troth.drop_signing_keys(p_domain text, p_overlap interval, p_request text default null)
returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    update troth.signing_key set retired_at = least(retired_at, now() - p_overlap)
    where domain = p_domain and retired_at is not null;
    perform troth.record('signing_key.dropped', v_tenant, null, p_domain, p_request);
end $$;

revoke execute on all functions in schema troth from public;
grant execute on function
    troth.record_refusal(text, text, text, text, text),
    troth.issue_code(text, bytea, uuid, text, text, text[], text, text, interval, text, jsonb),
    troth.begin_grant(text, uuid, uuid, text, text[], jsonb, bytea, jsonb, text),
    troth.redeem_code(text, bytea, text, text, text, uuid, bytea, text, jsonb, text),
    troth.refuse_code(uuid, text, bytea, text, text),
    troth.renew_grant(text, uuid, integer, bytea, text, jsonb, interval, text),
    troth.unrenewed(uuid, text, uuid, integer, bytea, text, jsonb, interval, text),
    troth.refresh_alive(text, uuid, integer, bytea, text),
    troth.spend_proof(text, bytea, interval),
    troth.begin_device(text, bytea, bytea, text, text[], jsonb, interval, integer, integer),
    troth.poll_device(text, bytea, text, uuid, bytea, jsonb, text),
    troth.find_device(text, bytea, bytea[], integer[], interval, uuid, text),
    troth.decide_device(text, bytea, uuid, text[], text),
    troth.signing_keys(text, interval),
    troth.drop_signing_keys(text, interval, text),
    troth.add_signing_key(text, text, bytea, jsonb, text, interval, text)
to troth_app;
