-- Administration of a tenant by its own people, through the API.
--
-- A web instance may change none of this by itself. It calls functions with the owner's rights, and each begins by
-- asking the database whether the session that it speaks for lives, whether its person holds the scope at this
-- moment, and whether they proved who they are a short while ago. The tenant is the session's: row-level security
-- is forced on the owner too, so nothing of another can be named. Refusals are raised, with a SQLSTATE of ours:
--
--   TR401  the session is over, or of another domain
--   TR402  the authentication is too old, or too weak for this tenant (RFC 9470)
--   TR403  a scope is lacking, which the message names
--
-- p_tags are the entity tags of the versions that a change is based on; null stands for whichever there is.

create policy own_trail on troth.audit_event for select to troth_owner
    using (tenant_id = (select troth.context_tenant()));
create index audit_event_trail on troth.audit_event (tenant_id, at desc, id desc);

create function troth.require_scope(p_scopes text[], p_scope text) returns void
language plpgsql immutable as $$
begin
    if not p_scope = any (p_scopes) then
        raise exception using errcode = 'TR403', message = p_scope;
    end if;
end $$;

-- Whoever acts, as the person of this session.
create function troth.administer(p_domain text, p_session uuid, p_scope text) returns uuid
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row record;
begin
    select s.domain, s.parent_id, s.scopes, s.authenticated_at, s.amr, p.id as person, p.roles,
           c.scopes as registered, to_jsonb(t) #>> '{policy,second_factor}' as second_factor
    into v_row
    from troth.session s
    join troth.person p on p.id = s.person_id
    join troth.tenant t on t.id = s.tenant_id
    left join troth.client c on c.tenant_id = s.tenant_id and c.id = s.client_id
    where s.id = p_session and s.domain = p_domain and s.tenant_id = v_tenant;
    if not found or not troth.session_alive(p_session) then
        raise exception using errcode = 'TR401', message = 'the session is over';
    end if;
    perform troth.require_scope(troth.scopes_of(v_row.roles), p_scope);
    if v_row.parent_id is not null then
        perform troth.require_scope(v_row.scopes, p_scope);
        perform troth.require_scope(v_row.registered, p_scope);
    end if;
    if v_row.authenticated_at <= now() - interval '10 minutes' then
        raise exception using errcode = 'TR402', message = 'too old';
    elsif v_row.second_factor = 'required' and not troth.two_factors(v_row.amr) then
        raise exception using errcode = 'TR402', message = 'too weak';
    end if;
    perform set_config('troth.principal', v_row.person::text, true);
    return v_row.person;
end $$;

-- As access/sessions.py tells urn:troth:acr:2.
create function troth.two_factors(p_amr text[]) returns boolean
language plpgsql immutable as $$
begin
    return p_amr && array['otp', 'hwk', 'swk'] and (
        p_amr && array['pwd', 'pin'] or p_amr && array['hwk', 'swk'] and 'user' = any (p_amr));
end $$;

-- Nobody gives, takes or touches a power of administration that they do not hold themselves: else whoever may
-- change users could make themselves anything.
create function troth.require_no_less(p_actor uuid, p_scopes text[]) returns void
language plpgsql as $$
declare
    v_scope text;
    v_held text[] := (select troth.scopes_of(p.roles) from troth.person p where p.id = p_actor);
begin
    foreach v_scope in array p_scopes loop
        if starts_with(v_scope, 'admin.') then
            perform troth.require_scope(v_held, v_scope);
        end if;
    end loop;
end $$;

-- Users --------------------------------------------------------------------------------------------------------

create function troth.person_tag(p_person troth.person) returns text
language plpgsql immutable as $$
begin
    return left(encode(sha256(convert_to(
        array_to_string(p_person.roles, ' ') || '/' || p_person.disabled || '/' || encode(p_person.profile, 'hex'),
        'UTF8')), 'hex'), 16);
end $$;

create type troth.administered_user as (
    id uuid,
    profile bytea,
    roles text[],
    disabled boolean,
    created_at timestamptz,
    email_verified_at timestamptz,
    has_password boolean,
    tag text
);

create function troth.administered(p_person troth.person) returns troth.administered_user
language plpgsql stable as $$
begin
    return (p_person.id, p_person.profile, p_person.roles, p_person.disabled, p_person.created_at,
            p_person.email_verified_at, p_person.password_hash is not null, troth.person_tag(p_person)
           )::troth.administered_user;
end $$;

-- The oldest first.
create function troth.admin_users(p_domain text, p_session uuid, p_request text, p_after uuid, p_limit integer)
returns setof troth.administered_user
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.users:read');
    return query
        select a.* from troth.person p, troth.administered(p) a
        where p.tenant_id = troth.context_tenant() and (p_after is null or p.id > p_after)
        order by p.id limit p_limit;
end $$;

create function troth.admin_user(p_domain text, p_session uuid, p_request text, p_person uuid)
returns setof troth.administered_user
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.users:read');
    return query select a.* from troth.person p, troth.administered(p) a where p.id = p_person;
end $$;

-- outcome: changed | none | stale | self (nobody changes their own account here) | unknown_role
create function troth.admin_change_user(
    p_domain text, p_session uuid, p_request text, p_person uuid, p_roles text[], p_disabled boolean,
    p_tags text[]
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.users:update');
    v_tenant uuid := troth.context_tenant();
    v_person troth.person;
begin
    select * into v_person from troth.person where id = p_person for update;
    if not found then
        return 'none';
    elsif p_person = v_actor then
        return 'self';
    elsif p_tags is not null and not troth.person_tag(v_person) = any (p_tags) then
        return 'stale';
    elsif exists (select unnest(p_roles) except select r.name from troth.role r) then
        return 'unknown_role';
    end if;
    perform troth.require_no_less(v_actor, troth.scopes_of(v_person.roles));
    perform troth.require_no_less(v_actor, troth.scopes_of(p_roles));
    if p_roles <> v_person.roles then
        update troth.person set roles = p_roles where id = p_person;
        perform troth.record('person.roles_changed', v_tenant, v_actor, p_domain, p_request,
                             jsonb_build_object('person', p_person, 'roles', p_roles));
    end if;
    if p_disabled <> v_person.disabled then
        update troth.person set disabled = p_disabled, sessions_from = now() where id = p_person;
        perform troth.record(case when p_disabled then 'person.disabled' else 'person.enabled' end,
                             v_tenant, v_actor, p_domain, p_request, jsonb_build_object('person', p_person));
    end if;
    return 'changed';
end $$;

-- Every session of a person, on all domains of the tenant. False when there is no such person.
create function troth.admin_sign_out(p_domain text, p_session uuid, p_request text, p_person uuid)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.sessions:delete');
begin
    update troth.person set sessions_from = now() where id = p_person;
    if not found then
        return false;
    end if;
    perform troth.record('session.ended_everywhere', troth.context_tenant(), v_actor, p_domain, p_request,
                         jsonb_build_object('person', p_person, 'reason', 'ended by an administrator'));
    return true;
end $$;

-- For a person who lost them. outcome: reset | none | self
create function troth.admin_reset_factors(p_domain text, p_session uuid, p_request text, p_person uuid)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.users:update');
begin
    if p_person = v_actor then
        return 'self';
    end if;
    perform troth.require_no_less(v_actor, troth.scopes_of(p.roles)) from troth.person p where p.id = p_person;
    if not troth.reset_factors(troth.context_tenant(), p_person) then
        return 'none';
    end if;
    perform troth.record('person.factors_reset', troth.context_tenant(), v_actor, p_domain, p_request,
                         jsonb_build_object('person', p_person));
    return 'reset';
end $$;

-- Sessions -----------------------------------------------------------------------------------------------------

-- The newest first; `p_before` is the last id of the page before.
create function troth.admin_sessions(p_domain text, p_session uuid, p_request text, p_before uuid, p_limit integer)
returns table (id uuid, person_id uuid, domain text, client_id text, scopes text[], amr text[],
               created_at timestamptz, authenticated_at timestamptz, seen_at timestamptz,
               expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.sessions:read');
    return query
        select s.id, s.person_id, s.domain, s.client_id, s.scopes, s.amr, s.created_at, s.authenticated_at,
               s.seen_at, s.expires_at
        from troth.session s join troth.lasting_session l on l.id = s.id
        where s.tenant_id = troth.context_tenant() and (p_before is null or s.id < p_before)
        order by s.id desc limit p_limit;
end $$;

create function troth.admin_end_session(p_domain text, p_session uuid, p_request text, p_target uuid)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.sessions:delete');
    v_person uuid := (select s.person_id from troth.session s where s.id = p_target);
begin
    if v_person is null or not troth.end_session_tree(p_target, 'ended by an administrator') then
        return false;
    end if;
    perform troth.record('session.ended', troth.context_tenant(), v_actor, p_domain, p_request,
                         jsonb_build_object('session', p_target, 'person', v_person,
                                            'reason', 'ended by an administrator'));
    return true;
end $$;

-- Roles ----------------------------------------------------------------------------------------------------------

create function troth.admin_roles(p_domain text, p_session uuid, p_request text)
returns table (name text, own boolean, scopes text[], version bigint, people bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.roles:read');
    return query select r.* from troth.roles_of(troth.context_tenant()) r;
end $$;

-- p_tags null: there must be none yet. outcome: created | changed | stale | exists | none
create function troth.admin_put_role(
    p_domain text, p_session uuid, p_request text, p_name text, p_scopes text[], p_tags text[]
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(
        p_domain, p_session, case when p_tags is null then 'admin.roles:create' else 'admin.roles:update' end);
    v_tenant uuid := troth.context_tenant();
    v_role troth.role;
begin
    select * into v_role from troth.role r where r.tenant_id = v_tenant and r.name = p_name for update;
    if found and p_tags is null then
        return 'exists';
    elsif not found and p_tags is not null then
        return 'none';
    elsif not v_role.version::text = any (p_tags) then
        return 'stale';
    end if;
    perform troth.require_no_less(v_actor, p_scopes || coalesce(v_role.scopes, troth.scopes_of(array[p_name])));
    perform troth.put_role(v_tenant, p_name, p_scopes, v_actor, p_domain, p_request);
    return case when p_tags is null then 'created' else 'changed' end;
end $$;

-- outcome: removed | none | stale
create function troth.admin_remove_role(
    p_domain text, p_session uuid, p_request text, p_name text, p_tags text[]
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.roles:delete');
    v_tenant uuid := troth.context_tenant();
    v_role troth.role;
begin
    select * into v_role from troth.role r where r.tenant_id = v_tenant and r.name = p_name for update;
    if not found then
        return 'none';
    elsif not v_role.version::text = any (p_tags) then
        return 'stale';
    end if;
    -- What the platform has under this name comes to the fore.
    perform troth.require_no_less(v_actor, v_role.scopes || coalesce(
        (select r.scopes from troth.role r where r.tenant_id is null and r.name = p_name), '{}'));
    perform troth.remove_role(v_tenant, p_name, v_actor, p_domain, p_request);
    return 'removed';
end $$;

-- The trail ------------------------------------------------------------------------------------------------------

-- The newest first; p_at and p_id are of the last one of the page before.
create function troth.admin_events(
    p_domain text, p_session uuid, p_request text, p_at timestamptz, p_id uuid, p_limit integer
) returns table (id uuid, at timestamptz, event text, principal uuid, domain text, request_id text, detail jsonb)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.audit:read');
    return query
        select e.id, e.at, e.event, e.principal, e.domain, e.request_id, e.detail
        from troth.audit_event e
        where e.tenant_id = troth.context_tenant() and (p_at is null or (e.at, e.id) < (p_at, p_id))
        order by e.at desc, e.id desc limit p_limit;
end $$;

-- A refusal rolls back whatever the function above had written: it is recorded by a call of its own.
create function troth.record_admin_refused(
    p_domain text, p_person uuid, p_request text, p_scope text, p_reason text
) returns void
language plpgsql as $$
begin
    perform troth.record('administration.refused', troth.enter_domain(p_domain), p_person, p_domain, p_request,
                         jsonb_build_object('scope', p_scope, 'reason', p_reason));
end $$;

revoke execute on all functions in schema troth from public;
grant execute on function
    troth.admin_users(text, uuid, text, uuid, integer),
    troth.admin_user(text, uuid, text, uuid),
    troth.admin_change_user(text, uuid, text, uuid, text[], boolean, text[]),
    troth.admin_sign_out(text, uuid, text, uuid),
    troth.admin_reset_factors(text, uuid, text, uuid),
    troth.admin_sessions(text, uuid, text, uuid, integer),
    troth.admin_end_session(text, uuid, text, uuid),
    troth.admin_roles(text, uuid, text),
    troth.admin_put_role(text, uuid, text, text, text[], text[]),
    troth.admin_remove_role(text, uuid, text, text, text[]),
    troth.admin_events(text, uuid, text, timestamptz, uuid, integer),
    troth.record_admin_refused(text, uuid, text, text, text)
to troth_app;
