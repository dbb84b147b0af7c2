-- Sealed documents, the tenants' wrapped keys, and remembered answers to repeated requests.
--
-- The database never sees a plaintext or a key. What it does see, it guards a second time: each policy asks
-- for the tenant and the scope in the transaction-local context, so that a fault in Python shows nothing.
--
--   troth.tenant     whose rows                          uuid
--   troth.principal  who acts                            uuid
--   troth.grants     collection:action:any|own, spaced   e.g. 'tickets:read:any tickets:update:own'
--   troth.action     what is being done to a row that is looked up; 'read' when unset

-- Read as an array once a statement; '' and unset are no grants.
create function troth.context_grants() returns text[]
language sql stable parallel safe
return string_to_array(nullif(current_setting('troth.grants', true), ''), ' ');

create function troth.context_action() returns text
language sql stable parallel safe
return coalesce(nullif(current_setting('troth.action', true), ''), 'read');

-- Tenant keys --------------------------------------------------------------------------------------------

create table troth.tenant_key (
    tenant_id uuid not null references troth.tenant,
    version integer not null check (version > 0),
    wrapped bytea not null check (substring(wrapped from 1 for 2) = 'TR'),
    created_at timestamptz not null default now(),
    primary key (tenant_id, version)
);

alter table troth.tenant_key enable row level security;
alter table troth.tenant_key force row level security;
create policy own_tenant_read on troth.tenant_key for select
    using (tenant_id = (select troth.context_tenant()));
create policy own_tenant_add on troth.tenant_key for insert
    with check (tenant_id = (select troth.context_tenant()));
grant select, insert on troth.tenant_key to troth_app;
grant select (tenant_id, version, created_at) on troth.tenant_key to troth_auditor;

-- All versions of a tenant's key, the oldest first.
create function troth.tenant_keys(p_tenant uuid)
returns table (version integer, wrapped bytea)
language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    return query select k.version, k.wrapped from troth.tenant_key k
        where k.tenant_id = p_tenant order by k.version;
end $$;

-- Adds a version unless another process was faster; answers with what is stored, whoever stored it.
create function troth.tenant_key_add(p_tenant uuid, p_version integer, p_wrapped bytea)
returns table (version integer, wrapped bytea)
language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    insert into troth.tenant_key (tenant_id, version, wrapped) values (p_tenant, p_version, p_wrapped)
        on conflict do nothing;
    return query select k.version, k.wrapped from troth.tenant_key k
        where k.tenant_id = p_tenant order by k.version;
end $$;

-- Documents ----------------------------------------------------------------------------------------------

-- `seal` repeats the first 8 bytes of the envelope (data/sealing.py): layout, algorithm and key version for
-- the probes, which need no access to the rest. The check keeps out whatever is not sealed at all.
create table troth.document (
    tenant_id uuid not null references troth.tenant,
    collection text not null check (collection ~ '^[a-z][a-z0-9_]{0,39}$'),
    id uuid not null,
    owner uuid not null,
    version bigint not null default 1 check (version > 0),
    sealed bytea not null check (substring(sealed from 1 for 2) = 'TR' and octet_length(sealed) >= 48),
    seal bytea generated always as (substring(sealed from 1 for 8)) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, collection, id)
);

create index document_by_owner on troth.document (tenant_id, collection, owner, id);

alter table troth.document enable row level security;
alter table troth.document force row level security;

-- PostgreSQL asks this policy also when a row is looked up to be changed, hence the action in the context.
create policy visible on troth.document for select using (
    tenant_id = (select troth.context_tenant())
    and (
        collection || ':' || (select troth.context_action()) || ':any' = any ((select troth.context_grants())::text[])
        or owner = (select troth.context_principal())
        and collection || ':' || (select troth.context_action()) || ':own'
            = any ((select troth.context_grants())::text[])
    )
);

-- A new row always belongs to the one who makes it: nobody writes in another's name.
create policy creatable on troth.document for insert with check (
    tenant_id = (select troth.context_tenant())
    and owner = (select troth.context_principal())
    and (
        collection || ':create:any' = any ((select troth.context_grants())::text[])
        or collection || ':create:own' = any ((select troth.context_grants())::text[])
    )
);

create policy changeable on troth.document for update using (
    tenant_id = (select troth.context_tenant())
    and (
        collection || ':update:any' = any ((select troth.context_grants())::text[])
        or owner = (select troth.context_principal())
        and collection || ':update:own' = any ((select troth.context_grants())::text[])
    )
);

create policy deletable on troth.document for delete using (
    tenant_id = (select troth.context_tenant())
    and (
        collection || ':delete:any' = any ((select troth.context_grants())::text[])
        or owner = (select troth.context_principal())
        and collection || ':delete:own' = any ((select troth.context_grants())::text[])
    )
);

create policy audited on troth.document for select to troth_auditor using (true);

-- Without the right to update them, tenant, collection, id, owner and creation time of a row never change.
grant select, insert, delete, update (sealed, version, updated_at) on troth.document to troth_app;
grant select (tenant_id, collection, id, owner, version, seal, created_at, updated_at)
    on troth.document to troth_auditor;

-- Answers to repeated requests ----------------------------------------------------------------------------

-- Keys and requests are kept as HMACs under a key of the tenant: a plain hash of a short body can be guessed.
create table troth.idempotency (
    tenant_id uuid not null references troth.tenant,
    principal uuid not null,
    key_mac bytea not null,
    request_mac bytea not null,
    document_id uuid not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    primary key (tenant_id, principal, key_mac)
);

create index idempotency_by_expiry on troth.idempotency (tenant_id, expires_at);

alter table troth.idempotency enable row level security;
alter table troth.idempotency force row level security;
create policy own_requests on troth.idempotency
    using (
        tenant_id = (select troth.context_tenant())
        and (principal = (select troth.context_principal()) or expires_at <= now())
    )
    with check (
        tenant_id = (select troth.context_tenant()) and principal = (select troth.context_principal())
    );
grant select, insert, update, delete on troth.idempotency to troth_app;

-- One function an operation, one round trip a call ---------------------------------------------------------
--
-- Every function sets the context, asks whether the session still lives, and then works with the caller's
-- own rights (SECURITY INVOKER). The first column says what happened:
--
--   session_ended  the session is over; nothing else was looked at
--   row            here it is (no row at all: there is none, or none that the caller may see)
--   stale          it has another version by now, which the row tells
--   denied         it may be read but not changed
--   created, replayed, key_reused   see document_create

-- `p_action` is what the row is looked up for: 'read', or 'update' to change a part of it.
--
-- The hottest call of all: session and document are looked up in one statement, 25 µs less than in two. What
-- that finds nothing for is told apart, or served to a client's grant, by the statements after it.
create function troth.document_read(
    p_session uuid, p_tenant uuid, p_principal uuid, p_grants text, p_collection text, p_id uuid,
    p_action text
) returns table (
    outcome text, id uuid, owner uuid, version bigint, sealed bytea,
    created_at timestamptz, updated_at timestamptz
) language plpgsql as $$
#variable_conflict use_column
declare
    v_set text;
begin
    v_set := set_config('troth.tenant', p_tenant::text, true);
    v_set := set_config('troth.principal', p_principal::text, true);
    v_set := set_config('troth.session', p_session::text, true);
    v_set := set_config('troth.grants', p_grants, true);
    v_set := set_config('troth.action', p_action, true);
    return query select 'row', d.id, d.owner, d.version, d.sealed, d.created_at, d.updated_at
        from troth.lasting_session s, troth.document d
        where s.id = p_session and s.tenant_id = p_tenant and s.parent_id is null
            and d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id;
    if found then
        return;
    elsif not troth.session_alive(p_session) then
        return query select 'session_ended', null::uuid, null::uuid, null::bigint, null::bytea,
            null::timestamptz, null::timestamptz;
        return;
    end if;
    return query select 'row', d.id, d.owner, d.version, d.sealed, d.created_at, d.updated_at
        from troth.document d
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id;
end $$;

-- Reads that were asked for at the same time (data/reading.py), each in a context of its own: document_read sets
-- all of it anew before it looks at anything. `place` counts from 1; what is missing was not found.
create function troth.documents_read(
    p_sessions uuid[], p_tenants uuid[], p_principals uuid[], p_grants text[], p_collections text[],
    p_ids uuid[], p_actions text[]
) returns table (
    place integer, outcome text, id uuid, owner uuid, version bigint, sealed bytea,
    created_at timestamptz, updated_at timestamptz
) language plpgsql as $$
begin
    for v_place in 1 .. cardinality(p_ids) loop
        return query select v_place, r.* from troth.document_read(
            p_sessions[v_place], p_tenants[v_place], p_principals[v_place], p_grants[v_place],
            p_collections[v_place], p_ids[v_place], p_actions[v_place]) r;
    end loop;
end $$;

-- The newest first; `p_before` is the last id of the previous page. With `p_own` only the caller's rows,
-- which the index by owner then finds without walking over everybody else's.
create function troth.document_list(
    p_session uuid, p_tenant uuid, p_principal uuid, p_grants text, p_collection text,
    p_before uuid, p_own boolean, p_limit integer
) returns table (
    outcome text, id uuid, owner uuid, version bigint, sealed bytea,
    created_at timestamptz, updated_at timestamptz
) language plpgsql as $$
#variable_conflict use_column
declare
    v_before uuid := coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
begin
    perform set_config('troth.tenant', p_tenant::text, true),
            set_config('troth.principal', p_principal::text, true),
            set_config('troth.session', p_session::text, true),
            set_config('troth.grants', p_grants, true),
            set_config('troth.action', 'read', true);
    if not troth.session_alive(p_session) then
        return query select 'session_ended', null::uuid, null::uuid, null::bigint, null::bytea,
            null::timestamptz, null::timestamptz;
    elsif p_own then
        return query select 'row', d.id, d.owner, d.version, d.sealed, d.created_at, d.updated_at
            from troth.document d
            where d.tenant_id = p_tenant and d.collection = p_collection and d.owner = p_principal
                and d.id < v_before
            order by d.id desc limit p_limit;
    else
        return query select 'row', d.id, d.owner, d.version, d.sealed, d.created_at, d.updated_at
            from troth.document d
            where d.tenant_id = p_tenant and d.collection = p_collection and d.id < v_before
            order by d.id desc limit p_limit;
    end if;
end $$;

-- `p_key` null: no idempotency asked for. Else the first request with this key makes the row; a repeated one
-- with the same body is told which ('replayed'), one with another body is refused ('key_reused'). Two at
-- once meet at the primary key of troth.idempotency, where the second waits for the first to commit.
--
-- The very same call may be repeated after a lost connection: an id is never chosen twice and sealed bytes
-- hold a nonce, so a row with both is the one that the first attempt made.
create function troth.document_create(
    p_session uuid, p_tenant uuid, p_principal uuid, p_grants text, p_collection text,
    p_id uuid, p_sealed bytea, p_key bytea, p_request bytea, p_keep interval
) returns table (outcome text, id uuid, created_at timestamptz)
language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('troth.tenant', p_tenant::text, true),
            set_config('troth.principal', p_principal::text, true),
            set_config('troth.session', p_session::text, true),
            set_config('troth.grants', p_grants, true),
            set_config('troth.action', 'create', true);
    if not troth.session_alive(p_session) then
        return query select 'session_ended', null::uuid, null::timestamptz;
        return;
    end if;
    if p_key is not null then
        delete from troth.idempotency i where i.tenant_id = p_tenant and i.key_mac <> p_key and i.ctid in (
            select e.ctid from troth.idempotency e
            where e.tenant_id = p_tenant and e.expires_at <= now()
            order by e.expires_at limit 20 for update skip locked
        );
        insert into troth.idempotency as i
            (tenant_id, principal, key_mac, request_mac, document_id, expires_at)
            values (p_tenant, p_principal, p_key, p_request, p_id, now() + p_keep)
            on conflict (tenant_id, principal, key_mac) do update
                set request_mac = excluded.request_mac, document_id = excluded.document_id,
                    created_at = excluded.created_at, expires_at = excluded.expires_at
                where i.expires_at <= now();
        if not found then
            return query
                select case when i.request_mac = p_request then 'replayed' else 'key_reused' end,
                    i.document_id, i.created_at
                from troth.idempotency i
                where i.tenant_id = p_tenant and i.principal = p_principal and i.key_mac = p_key;
            return;
        end if;
    end if;
    insert into troth.document (tenant_id, collection, id, owner, sealed)
        values (p_tenant, p_collection, p_id, p_principal, p_sealed)
        on conflict (tenant_id, collection, id) do nothing;
    return query select 'created', d.id, d.created_at from troth.document d
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id
            and d.owner = p_principal and d.sealed = p_sealed;
end $$;

-- Replaces the sealed content if the version is still `p_version`, in one atomic statement. The very same
-- call may be repeated after a lost connection: sealed bytes hold a nonce, so a row that has them already is
-- this call's own work, not somebody else's.
create function troth.document_update(
    p_session uuid, p_tenant uuid, p_principal uuid, p_grants text, p_collection text,
    p_id uuid, p_version bigint, p_sealed bytea
) returns table (
    outcome text, owner uuid, version bigint, created_at timestamptz, updated_at timestamptz
) language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('troth.tenant', p_tenant::text, true),
            set_config('troth.principal', p_principal::text, true),
            set_config('troth.session', p_session::text, true),
            set_config('troth.grants', p_grants, true),
            set_config('troth.action', 'update', true);
    if not troth.session_alive(p_session) then
        return query select 'session_ended', null::uuid, null::bigint, null::timestamptz, null::timestamptz;
        return;
    end if;
    return query update troth.document d
        set sealed = p_sealed, version = d.version + 1, updated_at = now()
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id and d.version = p_version
        returning 'row', d.owner, d.version, d.created_at, d.updated_at;
    if found then
        return;
    end if;
    return query select 'row', d.owner, d.version, d.created_at, d.updated_at from troth.document d
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id
            and d.version = p_version + 1 and d.sealed = p_sealed;
    if found then
        return;
    end if;
    return query select w.outcome, null::uuid, w.version, null::timestamptz, null::timestamptz
        from troth.document_why(p_tenant, p_collection, p_id) w;
end $$;

-- `p_versions` null deletes whatever version there is.
create function troth.document_delete(
    p_session uuid, p_tenant uuid, p_principal uuid, p_grants text, p_collection text,
    p_id uuid, p_versions bigint[]
) returns table (outcome text, version bigint)
language plpgsql as $$
#variable_conflict use_column
begin
    perform set_config('troth.tenant', p_tenant::text, true),
            set_config('troth.principal', p_principal::text, true),
            set_config('troth.session', p_session::text, true),
            set_config('troth.grants', p_grants, true),
            set_config('troth.action', 'delete', true);
    if not troth.session_alive(p_session) then
        return query select 'session_ended', null::bigint;
        return;
    end if;
    return query delete from troth.document d
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id
            and (p_versions is null or d.version = any (p_versions))
        returning 'row', d.version;
    if not found then
        return query select w.outcome, w.version from troth.document_why(p_tenant, p_collection, p_id) w;
    end if;
end $$;

-- Why nothing was changed, told only as far as the caller may know: a row that it may change is stale, one
-- that it may merely read is denied, one that it cannot see does not exist.
create function troth.document_why(p_tenant uuid, p_collection text, p_id uuid)
returns table (outcome text, version bigint)
language plpgsql as $$
#variable_conflict use_column
begin
    return query select 'stale', d.version from troth.document d
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id;
    if found then
        return;
    end if;
    perform set_config('troth.action', 'read', true);
    return query select 'denied', null::bigint from troth.document d
        where d.tenant_id = p_tenant and d.collection = p_collection and d.id = p_id;
end $$;

-- Who may call what ------------------------------------------------------------------------------------------
--
-- PostgreSQL lets everybody call a new function. Here the web instances may, and the auditor may not; the three
-- that make and change accounts are the operator's. A later file that adds functions ends like this one.
revoke execute on all functions in schema troth from public;
grant execute on all functions in schema troth to troth_app;
revoke execute on function
    troth.add_person(uuid, uuid, bytea, bytea, text, text[]),
    troth.set_password(uuid, uuid, text),
    troth.set_disabled(uuid, uuid, boolean)
from troth_app;
