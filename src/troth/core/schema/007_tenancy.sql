-- Tenants' policies, and domains that come and go while the platform runs.
--
-- `policy` holds what a tenant decided (core/policy.py); what it leaves out is the default of the running version.
alter table troth.tenant add column policy jsonb not null default '{}' check (jsonb_typeof(policy) = 'object');

-- What troth.toml names is declared; what was added while the platform ran is the operator's to remove.
alter table troth.tenant add column added boolean not null default true;
update troth.tenant set added = false;
alter table troth.domain
    add column added boolean not null default true,
    add column state text not null default 'active' check (state in ('active', 'pending', 'removed')),
    add column challenge text,
    add column proved_at timestamptz,
    add column asked_at timestamptz,
    add column proof_gone boolean not null default false,
    add column created_at timestamptz not null default now(),
    add constraint pending_on_a_challenge check (state <> 'pending' or challenge is not null);
comment on column troth.domain.state is 'pending: its ownership has yet to be proved; removed: kept for the trail';
comment on column troth.domain.proof_gone is 'the record did not stand there when it was last asked for; it takes nothing down';
comment on column troth.domain.challenge is 'what the TXT record has to say; null: nothing has to be proved';
update troth.domain set added = false; -- so far all of them were declared
create index domain_of_tenant on troth.domain (tenant_id, name);

-- Ends whatever was begun on a domain, and forgets its signing keys: they are sealed under a key of the tenant
-- that it may be leaving, and tokens that they signed must not outlive its stay there.
create function troth.close_domain(p_domain text) returns integer
language plpgsql as $$
declare
    v_context text := coalesce(current_setting('troth.tenant', true), '');
    v_ended integer;
begin
    perform troth.enter_domain(p_domain);
    update troth.session set ended_at = now(), end_reason = 'domain removed'
    where domain = p_domain and ended_at is null;
    get diagnostics v_ended = row_count;
    delete from troth.authorization_code where domain = p_domain;
    delete from troth.signing_key where domain = p_domain;
    perform set_config('troth.tenant', v_context, true);
    return v_ended;
end $$;

-- Puts a domain where it belongs, whatever it was before; with a challenge it waits for its proof.
create function troth.put_domain(
    p_name text, p_tenant uuid, p_app text, p_branding jsonb, p_added boolean, p_challenge text default null
) returns void
language plpgsql as $$
declare
    v_old troth.domain;
begin
    select * into v_old from troth.domain where name = p_name for update;
    if found and (v_old.tenant_id <> p_tenant or v_old.state = 'removed') then
        perform troth.close_domain(p_name);
    end if;
    insert into troth.domain as d (name, tenant_id, app, branding, added, state, challenge)
    values (p_name, p_tenant, p_app, p_branding, p_added,
            case when p_challenge is null then 'active' else 'pending' end, p_challenge)
    on conflict (name) do update
    set tenant_id = excluded.tenant_id, app = excluded.app, branding = excluded.branding,
        added = excluded.added, state = excluded.state, challenge = excluded.challenge, proved_at = null,
        asked_at = null, proof_gone = false,
        created_at = case when d.state = 'removed' then now() else d.created_at end;
end $$;

-- Takes a domain out of service; returns how many sessions ended by it, null when there is no such domain.
create function troth.remove_domain(p_name text) returns integer
language plpgsql as $$
declare
    v_tenant uuid;
begin
    update troth.domain set state = 'removed' where name = p_name and state <> 'removed'
    returning tenant_id into v_tenant;
    if not found then
        return null;
    end if;
    perform troth.record('domain.removed', v_tenant, null, p_name, null);
    return troth.close_domain(p_name);
end $$;
