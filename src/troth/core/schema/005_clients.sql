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

-- Who may call what: the web instances, and nobody besides.
revoke execute on all functions in schema troth from public;
grant execute on function
    troth.find_client(text, text),
    troth.record_client_refused(text, text, text, text),
    troth.spend_assertion(text, text, bytea, timestamptz),
    troth.push_request(text, bytea, text, bytea, interval),
    troth.take_request(text, bytea, text)
to troth_app;
