-- Roles that a tenant makes for itself, and what becomes of access tokens when a role changes.

alter table troth.role add column version bigint not null default 1;
alter table troth.tenant add column rights_from timestamptz not null default '-infinity';
alter table troth.person add column rights_from timestamptz not null default '-infinity';
comment on column troth.tenant.rights_from is 'when a role in this tenant last lost a scope';
comment on column troth.person.rights_from is 'when this person last lost a role';
grant select (version) on troth.role to troth_auditor;

-- A tenant's own role stands before the platform's of the same name.
create or replace function troth.scopes_of(p_roles text[]) returns text[]
language plpgsql stable as $$
begin
    return (
        select coalesce(array_agg(distinct scope order by scope), '{}')
        from (select distinct on (r.name) r.scopes from troth.role r
              where r.name = any (p_roles)
              order by r.name, r.tenant_id nulls last) standing, unnest(standing.scopes) scope);
end $$;

-- Changes ---------------------------------------------------------------------------------------------------

-- Only what takes something away is noted; what gives more leaves every token true. Nobody has to sign in again:
-- a token that says more than its person may is refused (see lasting_session below), what is open under one ends,
-- and instances forget what they remember. So a role that thousands hold can be changed without thousands of
-- sign-ins in the minute after.
drop trigger person_loses_role on troth.person;
drop function troth.person_loses_role();
create function troth.note_fewer_roles() returns trigger
language plpgsql as $$
begin
    new.rights_from := now();
    return new;
end $$;
create trigger roles_taken before update of roles on troth.person
    for each row when (not new.roles @> old.roles) execute function troth.note_fewer_roles();

create or replace function troth.person_changes() returns trigger
language plpgsql as $$
begin
    perform troth.announce(new.tenant_id, 'person', new.id::text,
                           new.sessions_from > old.sessions_from or new.rights_from > old.rights_from
                           or (new.disabled and not old.disabled));
    return null;
end $$;

-- A new role of a tenant takes something away when it stands before one of the platform; one of the platform may
-- be anybody's.
create or replace function troth.role_changes() returns trigger
language plpgsql as $$
declare
    v_tenant uuid := case when tg_op = 'DELETE' then old.tenant_id else new.tenant_id end;
    v_less boolean := case tg_op
        when 'DELETE' then true
        when 'UPDATE' then not new.scopes @> old.scopes
        else exists (select from troth.role r where r.name = new.name and r.tenant_id is null) end;
begin
    if v_less then
        update troth.tenant set rights_from = now() where v_tenant is null or id = v_tenant;
    end if;
    perform troth.announce(v_tenant, case when v_tenant is null then 'all' else 'tenant' end,
                           coalesce(v_tenant::text, ''), v_less);
    return null;
end $$;
create trigger role_is_made after insert on troth.role
    for each row when (new.tenant_id is not null) execute function troth.role_changes();

-- Whether all that a token's grants say (troth.grants, see 003) is among these scopes. A grant of named fields
-- comes as two words: `tickets:read:own`, which the policies compare, and `tickets:read:own:title,text`.
create function troth.rights_cover(p_grants text[], p_scopes text[]) returns boolean
language plpgsql immutable as $$
declare
    v_grant text;
    v_part text[];
    v_own text;
begin
    foreach v_grant in array coalesce(p_grants, '{}') loop
        v_part := string_to_array(v_grant, ':');
        v_own := v_part[1] || ':' || v_part[2] || ':own';
        if v_part[1] || ':' || v_part[2] = any (p_scopes) then
            continue;
        elsif v_part[3] <> 'own' then
            return false;
        elsif v_own = any (p_scopes) then
            continue;
        elsif v_part[4] is null then
            if not exists (select from unnest(p_grants) g where starts_with(g, v_own || ':')) then
                return false;
            end if;
        elsif exists (
            select unnest(string_to_array(v_part[4], ','))
            except
            select unnest(string_to_array(split_part(s, ':', 4), ','))
            from unnest(p_scopes) s where starts_with(s, v_own || ':')
        ) then
            return false;
        end if;
    end loop;
    return true;
end $$;

-- As in 002; besides, a call under the session of somebody whose rights have shrunk within the last half hour may ask
-- for no more than they have now. An access token lives for five minutes, and what it was minted from (a code, a
-- device's request) is not older than the rest of that half hour; whoever mints later has seen the change.
create or replace view troth.lasting_session with (security_invoker = true) as
    select s.id, s.tenant_id, s.parent_id, s.client_id
    from troth.session s
    join troth.person p on p.id = s.person_id
    join troth.tenant t on t.id = s.tenant_id
    where s.ended_at is null
      and s.expires_at > now()
      and s.seen_at + s.idle > now()
      and s.created_at >= p.sessions_from
      and not p.disabled
      and t.active
      and (greatest(p.rights_from, t.rights_from) < now() - interval '30 minutes'
           or troth.rights_cover(troth.context_grants(), troth.scopes_of(p.roles)));

-- The operator's, and an administrator's through 012 ----------------------------------------------------------

create function troth.roles_of(p_tenant uuid)
returns table (name text, own boolean, scopes text[], version bigint, people bigint)
language plpgsql as $$
begin
    perform set_config('troth.tenant', coalesce(p_tenant::text, ''), true);
    return query
        select r.name, r.tenant_id is not null, r.scopes, r.version,
               (select count(*) from troth.person p where r.name = any (p.roles))
        from troth.role r
        order by r.name, r.tenant_id nulls last;
end $$;

create function troth.put_role(
    p_tenant uuid, p_name text, p_scopes text[], p_by uuid default null, p_domain text default null,
    p_request text default null
) returns bigint
language plpgsql as $$
declare
    v_version bigint;
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    insert into troth.role as r (tenant_id, name, scopes) values (p_tenant, p_name, p_scopes)
    on conflict (tenant_id, name) do update set scopes = excluded.scopes, version = r.version + 1
    returning r.version into v_version;
    perform troth.record('role.changed', p_tenant, p_by, p_domain, p_request,
                         jsonb_build_object('role', p_name, 'scopes', p_scopes));
    return v_version;
end $$;

-- Who held it holds it no more, unless the platform has one of that name; else a later role of the same name
-- would be given to them by nobody.
create function troth.remove_role(
    p_tenant uuid, p_name text, p_by uuid default null, p_domain text default null, p_request text default null
) returns boolean
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    delete from troth.role where tenant_id = p_tenant and name = p_name;
    if not found then
        return false;
    end if;
    if not exists (select from troth.role where name = p_name) then
        update troth.person set roles = array_remove(roles, p_name) where p_name = any (roles);
    end if;
    perform troth.record('role.removed', p_tenant, p_by, p_domain, p_request,
                         jsonb_build_object('role', p_name));
    return true;
end $$;

-- The roles of the person of a living session.
create function troth.roles_held(p_domain text, p_session uuid) returns text[]
language plpgsql stable as $$
begin
    perform troth.enter_domain(p_domain);
    return (select p.roles from troth.session s join troth.person p on p.id = s.person_id
            where s.id = p_session and s.domain = p_domain and troth.session_alive(s.id));
end $$;

revoke execute on all functions in schema troth from public;
grant execute on function
    troth.rights_cover(text[], text[]),
    troth.roles_held(text, uuid),
    troth.note_fewer_roles()
to troth_app;
