-- Tenants, their domains, and the context in which every later policy is evaluated.
--
-- Roles are made by the bootstrap (data/replicas.py), one for each client certificate:
--   troth_owner   owns this schema, runs migrations
--   troth_app     the web instances; owns nothing, and row-level security is forced on it
--   troth_auditor the probes; reads across tenants the columns granted to it, writes nothing

create table troth.tenant (
    id uuid primary key,
    slug text not null unique,
    name text not null,
    active boolean not null default true,
    created_at timestamptz not null default now()
);

create table troth.domain (
    name text primary key,
    tenant_id uuid not null references troth.tenant,
    app text not null,
    branding jsonb not null
);

grant select on troth.tenant, troth.domain to troth_app, troth_auditor;

-- The context is transaction-local. After a transaction it reads '' instead of NULL, hence nullif; policies
-- call these inside a sub-select so that a scan evaluates them once.
create function troth.context_tenant() returns uuid
language sql stable parallel safe
return nullif(current_setting('troth.tenant', true), '')::uuid;

create function troth.context_principal() returns uuid
language sql stable parallel safe
return nullif(current_setting('troth.principal', true), '')::uuid;

-- Who did what: sealed detail, never a secret.
create table troth.audit_event (
    id uuid primary key,
    tenant_id uuid references troth.tenant,
    at timestamptz not null default now(),
    event text not null,
    principal uuid,
    domain text,
    request_id text,
    detail jsonb not null default '{}'
);

alter table troth.audit_event enable row level security;
alter table troth.audit_event force row level security;
create policy append_only on troth.audit_event for insert to troth_app with check (true);
grant insert on troth.audit_event to troth_app;
grant select on troth.audit_event to troth_auditor;
