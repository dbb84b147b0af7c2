-- What a client was registered with beyond its redirect URIs and scopes, and how it proves who it is.

alter table troth.client add column registration jsonb not null default '{}';
comment on column troth.client.registration is 'the metadata of RFC 7591, as access/oauth/clients.py reads it';

-- A secret has 256 random bits: one SHA-256 of it is kept, and two may be good at once while it is changed.
create table troth.client_secret (
    tenant_id uuid not null references troth.tenant,
    client_id text not null,
    secret_hash bytea not null check (length(secret_hash) = 32),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null default 'infinity',
    primary key (tenant_id, client_id, secret_hash),
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);

alter table troth.client_secret enable row level security;
alter table troth.client_secret force row level security;
create policy own_tenant on troth.client_secret
    using (tenant_id = (select troth.context_tenant()))
    with check (tenant_id = (select troth.context_tenant()));

grant select on troth.client_secret to troth_app;
grant select (tenant_id, client_id, created_at, expires_at) on troth.client_secret to troth_auditor;

drop function troth.find_client(text, text);
create function troth.find_client(p_domain text, p_client text)
returns table (
    id text, name text, redirect_uris text[], scopes text[], registration jsonb, secret_hashes bytea[]
)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select c.id, c.name, c.redirect_uris, c.scopes, c.registration,
               array(select s.secret_hash from troth.client_secret s
                     where s.client_id = c.id and s.expires_at > now())
        from troth.client c
        where c.id = p_client and not c.disabled;
end $$;

-- A failed authentication of a client that exists. Of one that does not, nothing is worth keeping.
create function troth.record_client_refused(p_domain text, p_client text, p_request text, p_reason text)
returns void
language plpgsql as $$
begin
    perform troth.record('client.refused', troth.enter_domain(p_domain), null, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'reason', p_reason));
end $$;

-- The numbers (jti) of assertions that were used, until they would be too old anyway. One insert decides: of
-- any number of instances that see the same one at once, one takes it.
create table troth.spent_assertion (
    tenant_id uuid not null references troth.tenant,
    client_id text not null,
    jti_hash bytea not null,
    expires_at timestamptz not null,
    primary key (tenant_id, client_id, jti_hash),
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);
create index spent_assertion_expiry on troth.spent_assertion (expires_at);

alter table troth.spent_assertion enable row level security;
alter table troth.spent_assertion force row level security;
create policy own_tenant on troth.spent_assertion
    using (tenant_id = (select troth.context_tenant()))
    with check (tenant_id = (select troth.context_tenant()));

-- What has not expired stays: an instance that was taken over cannot make a used one good again.
create policy only_expired on troth.spent_assertion as restrictive for delete to troth_app
    using (expires_at < now());
-- The right to update is what `for update` asks for; no row is ever updated.
create policy never_changed on troth.spent_assertion as restrictive for update to troth_app
    using (expires_at < now()) with check (false);
grant select, insert, update (expires_at), delete on troth.spent_assertion to troth_app;

create function troth.spend_assertion(p_domain text, p_client text, p_jti bytea, p_expires timestamptz)
returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    delete from troth.spent_assertion
    where (client_id, jti_hash) in (
        select client_id, jti_hash from troth.spent_assertion
        where expires_at < now() limit 16 for update skip locked);
    insert into troth.spent_assertion (tenant_id, client_id, jti_hash, expires_at)
    values (v_tenant, p_client, p_jti, p_expires)
    on conflict do nothing;
    return found;
end $$;

-- Authorization requests that a client left here beforehand (RFC 9126), sealed, for a minute.
create table troth.pushed_request (
    uri_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain on delete cascade,
    client_id text not null,
    parameters bytea not null,
    expires_at timestamptz not null,
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);
comment on column troth.pushed_request.parameters is 'sealed: it may say who is to sign in';
create index pushed_request_expiry on troth.pushed_request (expires_at);

alter table troth.pushed_request enable row level security;
alter table troth.pushed_request force row level security;
create policy own_tenant on troth.pushed_request
    using (tenant_id = (select troth.context_tenant()))
    with check (tenant_id = (select troth.context_tenant()));
-- The right to update is what `for update` asks for; no row is ever updated.
create policy never_changed on troth.pushed_request as restrictive for update to troth_app
    using (true) with check (false);
grant select, insert, update (expires_at), delete on troth.pushed_request to troth_app;

create function troth.push_request(
    p_domain text, p_hash bytea, p_client text, p_parameters bytea, p_lifetime interval
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    delete from troth.pushed_request
    where uri_hash in (select uri_hash from troth.pushed_request
                       where expires_at < now() limit 16 for update skip locked);
    insert into troth.pushed_request (uri_hash, tenant_id, domain, client_id, parameters, expires_at)
    values (p_hash, v_tenant, p_domain, p_client, p_parameters, now() + p_lifetime)
    on conflict (uri_hash) do nothing;
end $$;

-- The request, once: of any number of callers at once, one deletes it. Null for everybody else.
create function troth.take_request(p_domain text, p_hash bytea, p_client text) returns bytea
language plpgsql as $$
declare
    v_row troth.pushed_request;
begin
    perform troth.enter_domain(p_domain);
    delete from troth.pushed_request
    where uri_hash = p_hash and domain = p_domain and client_id = p_client
    returning * into v_row;
    if v_row.expires_at > now() then
        return v_row.parameters;
    end if;
    return null;
end $$;

-- How a client came: `declared` in troth.toml, added by the `operator`, or registered by itself (`dynamic`).
alter table troth.client add column origin text not null default 'declared'
    check (origin in ('declared', 'operator', 'dynamic'));

alter table troth.client add column held boolean not null default false;
comment on column troth.client.held is 'disabled by the operator: standing in troth.toml does not bring it back';

create index session_client on troth.session (tenant_id, client_id) where client_id is not null;

-- Ends everything that a client was granted. The tenant's context must be set.
create function troth.end_client_grants(p_client text, p_reason text) returns integer
language plpgsql as $$
declare
    v_count integer;
begin
    update troth.session set ended_at = now(), end_reason = p_reason
    where tenant_id = troth.context_tenant() and client_id = p_client and ended_at is null;
    get diagnostics v_count = row_count;
    update troth.authorization_code set redeemed_at = now()
    where tenant_id = troth.context_tenant() and client_id = p_client and redeemed_at is null;
    return v_count;
end $$;

-- Clients that register themselves (RFC 7591, 7592) --------------------------------------------------------
--
-- An instance has no right to these tables, nor to change a client: the functions below work with the owner's
-- rights, and each checks the token that it is shown itself. A token is 256 random bits, kept as SHA-256.

create table troth.initial_access_token (
    token_hash bytea primary key check (length(token_hash) = 32),
    tenant_id uuid not null references troth.tenant,
    scopes text[] not null,
    uses_left integer not null check (uses_left >= 0),
    expires_at timestamptz not null,
    created_at timestamptz not null default now()
);
comment on column troth.initial_access_token.scopes is 'the most that a client registered with it may get';

create table troth.client_registration (
    tenant_id uuid not null references troth.tenant,
    client_id text not null,
    token_hash bytea not null check (length(token_hash) = 32),
    previous_hash bytea,
    scopes text[] not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, client_id),
    foreign key (tenant_id, client_id) references troth.client on delete cascade
);
comment on column troth.client_registration.previous_hash is
    'the token before, good until the new one is used: its answer may have been lost';

do $$
declare
    name text;
begin
    foreach name in array array['initial_access_token', 'client_registration']
    loop
        execute format('alter table troth.%I enable row level security', name);
        execute format('alter table troth.%I force row level security', name);
        execute format(
            'create policy own_tenant on troth.%I
                using (tenant_id = (select troth.context_tenant()))
                with check (tenant_id = (select troth.context_tenant()))', name);
    end loop;
end $$;
grant select (tenant_id, scopes, uses_left, expires_at, created_at)
    on troth.initial_access_token to troth_auditor;
grant select (tenant_id, client_id, scopes, created_at) on troth.client_registration to troth_auditor;

-- The most that a client registered with this token may get; null when the token is good for nothing.
create function troth.invited_scopes(p_domain text, p_token bytea) returns text[]
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.enter_domain(p_domain);
    return (select t.scopes from troth.initial_access_token t
            where t.token_hash = p_token and t.uses_left > 0 and t.expires_at > now());
end $$;

-- True when the client is registered now. Repeating the call with the same id uses nothing up.
create function troth.register_client(
    p_domain text, p_token bytea, p_client text, p_name text, p_redirect_uris text[], p_scopes text[],
    p_registration jsonb, p_secret bytea, p_management bytea, p_request text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_ceiling text[];
begin
    if exists (select from troth.client_registration r
               where r.client_id = p_client and r.token_hash = p_management) then
        return true;
    end if;
    update troth.initial_access_token set uses_left = uses_left - 1
    where token_hash = p_token and uses_left > 0 and expires_at > now()
    returning scopes into v_ceiling;
    if not found then
        return false;
    end if;
    insert into troth.client (tenant_id, id, name, redirect_uris, scopes, registration, origin)
    values (v_tenant, p_client, p_name, p_redirect_uris, p_scopes, p_registration, 'dynamic');
    insert into troth.client_registration (tenant_id, client_id, token_hash, scopes)
    values (v_tenant, p_client, p_management, v_ceiling);
    if p_secret is not null then
        insert into troth.client_secret (tenant_id, client_id, secret_hash)
        values (v_tenant, p_client, p_secret);
    end if;
    perform troth.record('client.registered', v_tenant, null, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'name', p_name));
    return true;
end $$;

-- Whether a token manages this client. Using the newest one ends the one before it.
create function troth.manages_client(p_domain text, p_client text, p_token bytea) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_row troth.client_registration;
begin
    perform troth.enter_domain(p_domain);
    select r.* into v_row from troth.client_registration r
    join troth.client c on c.tenant_id = r.tenant_id and c.id = r.client_id and not c.disabled
    where r.client_id = p_client and p_token in (r.token_hash, r.previous_hash)
    for update of r;
    if not found then
        return false;
    end if;
    if v_row.token_hash = p_token and v_row.previous_hash is not null then
        update troth.client_registration set previous_hash = null where client_id = p_client;
    end if;
    return true;
end $$;

create function troth.managed_client(p_domain text, p_client text, p_token bytea)
returns table (
    name text, redirect_uris text[], scopes text[], registration jsonb, ceiling text[],
    created_at timestamptz
)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not troth.manages_client(p_domain, p_client, p_token) then
        return;
    end if;
    return query
        select c.name, c.redirect_uris, c.scopes, c.registration, r.scopes, c.created_at
        from troth.client c
        join troth.client_registration r on r.tenant_id = c.tenant_id and r.client_id = c.id
        where c.id = p_client;
end $$;

-- Replaces a client's metadata and its management token. What it was granted ends when it may less than before.
-- p_secret: null when the method needs none or the old one stays.
create function troth.replace_client(
    p_domain text, p_client text, p_token bytea, p_name text, p_redirect_uris text[], p_scopes text[],
    p_registration jsonb, p_secret bytea, p_with_secret boolean, p_management bytea, p_request text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_old text[];
begin
    if not troth.manages_client(p_domain, p_client, p_token) then
        return false;
    end if;
    select c.scopes into v_old from troth.client c where c.id = p_client for update;
    update troth.client
    set name = p_name, redirect_uris = p_redirect_uris, scopes = p_scopes, registration = p_registration
    where id = p_client;
    update troth.client_registration set token_hash = p_management, previous_hash = p_token
    where client_id = p_client;
    if not p_with_secret then
        delete from troth.client_secret where client_id = p_client;
    elsif p_secret is not null then
        insert into troth.client_secret (tenant_id, client_id, secret_hash)
        values (troth.context_tenant(), p_client, p_secret) on conflict do nothing;
    end if;
    if not v_old <@ p_scopes then
        perform troth.end_client_grants(p_client, 'client narrowed');
    end if;
    perform troth.record('client.replaced', troth.context_tenant(), null, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'name', p_name));
    return true;
end $$;

-- The client goes, and what it was granted ends first, so that whoever listens for ended sessions hears of it.
create function troth.remove_client(p_domain text, p_client text, p_token bytea, p_request text)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not troth.manages_client(p_domain, p_client, p_token) then
        return false;
    end if;
    perform troth.end_client_grants(p_client, 'client removed');
    delete from troth.client where id = p_client;
    perform troth.record('client.removed', troth.context_tenant(), null, p_domain, p_request,
                         jsonb_build_object('client', p_client));
    return true;
end $$;

-- Who may call what: the web instances, and nobody besides.
revoke execute on all functions in schema troth from public;
grant execute on function
    troth.find_client(text, text),
    troth.record_client_refused(text, text, text, text),
    troth.spend_assertion(text, text, bytea, timestamptz),
    troth.push_request(text, bytea, text, bytea, interval),
    troth.take_request(text, bytea, text),
    troth.invited_scopes(text, bytea),
    troth.register_client(text, bytea, text, text, text[], text[], jsonb, bytea, bytea, text),
    troth.managed_client(text, text, bytea),
    troth.replace_client(text, text, bytea, text, text[], text[], jsonb, bytea, boolean, bytea, text),
    troth.remove_client(text, text, bytea, text)
to troth_app;
