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
