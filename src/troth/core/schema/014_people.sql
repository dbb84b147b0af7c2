-- People as the operator's commands add, invite, import and change them. None of this is for a web instance.

create index person_page on troth.person (tenant_id, id);

-- The oldest first.
create function troth.people(p_tenant uuid, p_after uuid, p_limit integer) returns setof troth.administered_user
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    return query
        select a.* from troth.person p, troth.administered(p) a
        where p.tenant_id = p_tenant and (p_after is null or p.id > p_after)
        order by p.id limit p_limit;
end $$;

-- By id, or else by the blind index of an address.
create function troth.person_of(p_tenant uuid, p_person uuid, p_email_index bytea)
returns setof troth.administered_user
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    return query
        select a.* from troth.person p, troth.administered(p) a
        where p.tenant_id = p_tenant and (p.id = p_person or p.email_index = p_email_index);
end $$;

create function troth.unknown_roles(p_tenant uuid, p_roles text[]) returns text[]
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    return coalesce((select array_agg(n.name order by n.name)
                     from (select unnest(p_roles) as name except select r.name from troth.role r) n), '{}');
end $$;

-- Which of these addresses somebody has.
create function troth.known_people(p_tenant uuid, p_indexes bytea[]) returns setof bytea
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    return query select p.email_index from troth.person p
                 where p.tenant_id = p_tenant and p.email_index = any (p_indexes);
end $$;

-- People who are new; who has one of the addresses already stays as they are. `p_roles` are names with spaces
-- between them. Returns whose ids were taken: asked anew, so that a call repeated after a lost answer says the same.
create function troth.add_people(
    p_tenant uuid, p_ids uuid[], p_indexes bytea[], p_profiles bytea[], p_hashes text[], p_roles text[],
    p_verified boolean[]
) returns setof uuid
language plpgsql as $$
declare
    v_added integer;
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    insert into troth.person (id, tenant_id, email_index, profile, password_hash, roles, email_verified_at)
    select n.id, p_tenant, n.email_index, n.profile, n.hash, string_to_array(n.roles, ' '),
           case when n.verified then now() end
    from unnest(p_ids, p_indexes, p_profiles, p_hashes, p_roles, p_verified)
        as n (id, email_index, profile, hash, roles, verified)
    on conflict (tenant_id, email_index) do nothing;
    get diagnostics v_added = row_count;
    if v_added > 0 then
        perform troth.record('people.added', p_tenant, null, null, null, jsonb_build_object('count', v_added));
    end if;
    return query select p.id from troth.person p where p.tenant_id = p_tenant and p.id = any (p_ids);
end $$;

create function troth.set_roles(p_tenant uuid, p_person uuid, p_roles text[]) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set roles = p_roles where id = p_person and roles <> p_roles;
    if found then
        perform troth.record('person.roles_changed', p_tenant, null, null, null,
                             jsonb_build_object('person', p_person, 'roles', p_roles));
    end if;
end $$;

create function troth.sign_out(p_tenant uuid, p_person uuid) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set sessions_from = now() where id = p_person;
    perform troth.record('session.ended_everywhere', p_tenant, null, null, null,
                         jsonb_build_object('person', p_person, 'reason', 'ended by the operator'));
end $$;

-- A message that the operator asks for, to a person who is here. No budget slows the operator down.
create function troth.order_mail_to(
    p_id uuid, p_tenant uuid, p_domain text, p_kind text, p_language text, p_person uuid
) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id)
    values (p_id, p_tenant, p_domain, p_kind, p_language, p_person)
    on conflict (id) do nothing;
    if found then
        perform troth.record('mail.ordered', p_tenant, p_person, p_domain, null,
                             jsonb_build_object('kind', p_kind, 'by', 'the operator'));
    end if;
end $$;

revoke execute on all functions in schema troth from public;
