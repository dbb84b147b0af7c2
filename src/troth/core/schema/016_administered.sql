-- Clients, domains, settings and invitations, administered through the API as 012 describes.

-- Clients ------------------------------------------------------------------------------------------------------

create function troth.client_tag(p_client troth.client) returns text
language plpgsql immutable as $$
begin
    return left(encode(sha256(convert_to(
        jsonb_build_array(p_client.name, p_client.redirect_uris, p_client.scopes, p_client.disabled,
                          p_client.registration)::text, 'UTF8')), 'hex'), 16);
end $$;

create type troth.administered_client as (
    id text,
    name text,
    origin text,
    disabled boolean,
    redirect_uris text[],
    scopes text[],
    registration jsonb,
    created_at timestamptz,
    secrets timestamptz[],
    grants bigint,
    tag text
);

-- Of a secret, only its end is told; infinity is none.
create function troth.administered(p_client troth.client) returns troth.administered_client
language plpgsql stable as $$
begin
    return (p_client.id, p_client.name, p_client.origin, p_client.disabled, p_client.redirect_uris, p_client.scopes,
            p_client.registration, p_client.created_at,
            array(select nullif(s.expires_at, 'infinity') from troth.client_secret s
                  where s.tenant_id = p_client.tenant_id and s.client_id = p_client.id and s.expires_at > now()
                  order by s.created_at),
            (select count(*) from troth.session g
             where g.tenant_id = p_client.tenant_id and g.client_id = p_client.id and g.ended_at is null
               and g.expires_at > now()),
            troth.client_tag(p_client))::troth.administered_client;
end $$;

create function troth.admin_clients(p_domain text, p_session uuid, p_request text, p_after text, p_limit integer)
returns setof troth.administered_client
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.clients:read');
    return query
        select a.* from troth.client c, troth.administered(c) a
        where c.tenant_id = troth.context_tenant() and (p_after is null or c.id > p_after)
        order by c.id limit p_limit;
end $$;

create function troth.admin_client(p_domain text, p_session uuid, p_request text, p_client text)
returns setof troth.administered_client
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.clients:read');
    return query select a.* from troth.client c, troth.administered(c) a
        where c.tenant_id = troth.context_tenant() and c.id = p_client;
end $$;

-- Where we send requests to, and whom we believe, is the operator's to say: those members are left out, whatever an
-- instance sends. outcome: added | taken | too_many
create function troth.admin_add_client(
    p_domain text, p_session uuid, p_request text, p_client text, p_name text, p_redirect_uris text[],
    p_scopes text[], p_registration jsonb, p_secret bytea
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.clients:create');
    v_tenant uuid := troth.context_tenant();
begin
    perform troth.require_no_less(v_actor, p_scopes);
    perform from troth.tenant where id = v_tenant for no key update;
    if (select count(*) from troth.client c where c.tenant_id = v_tenant) >= 1000 then
        return 'too_many';
    end if;
    insert into troth.client (tenant_id, id, name, redirect_uris, scopes, registration, origin)
    select v_tenant, p_client, p_name, p_redirect_uris, p_scopes,
           p_registration - array['tls_client_auth_authorities', 'backchannel_logout_uri',
                                  'allow_token_endpoint_audience'], 'operator'
    where p_client <> 'session'
    on conflict do nothing;
    if not found then
        return 'taken';
    end if;
    if p_secret is not null then
        insert into troth.client_secret (tenant_id, client_id, secret_hash) values (v_tenant, p_client, p_secret);
    end if;
    perform troth.record('client.added', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'scopes', p_scopes));
    return 'added';
end $$;

-- A client of troth.toml can be disabled and enabled; the rest of it would come back at the next start. Who changes
-- where a client's answers go could take what it may. outcome: changed | none | stale | declared
create function troth.admin_change_client(
    p_domain text, p_session uuid, p_request text, p_client text, p_name text, p_redirect_uris text[],
    p_scopes text[], p_disabled boolean, p_tags text[]
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.clients:update');
    v_tenant uuid := troth.context_tenant();
    v_old troth.client;
begin
    select * into v_old from troth.client c where c.tenant_id = v_tenant and c.id = p_client for update;
    if not found then
        return 'none';
    elsif p_tags is not null and not troth.client_tag(v_old) = any (p_tags) then
        return 'stale';
    elsif v_old.origin = 'declared' and
          (v_old.name, v_old.redirect_uris, v_old.scopes) is distinct from (p_name, p_redirect_uris, p_scopes) then
        return 'declared';
    end if;
    perform troth.require_no_less(v_actor, v_old.scopes || p_scopes);
    update troth.client c
    set name = p_name, redirect_uris = p_redirect_uris, scopes = p_scopes, disabled = p_disabled, held = p_disabled
    where c.tenant_id = v_tenant and c.id = p_client;
    if p_disabled and not v_old.disabled then
        perform troth.end_client_grants(p_client, 'client disabled');
    elsif not v_old.scopes <@ p_scopes then
        perform troth.end_client_grants(p_client, 'client narrowed');
    end if;
    perform troth.record('client.changed', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'scopes', p_scopes, 'disabled', p_disabled));
    return 'changed';
end $$;

-- outcome: removed | none | declared
create function troth.admin_remove_client(p_domain text, p_session uuid, p_request text, p_client text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.clients:delete');
    v_tenant uuid := troth.context_tenant();
    v_old troth.client;
begin
    select * into v_old from troth.client c where c.tenant_id = v_tenant and c.id = p_client for update;
    if not found then
        return 'none';
    elsif v_old.origin = 'declared' then
        return 'declared';
    end if;
    perform troth.require_no_less(v_actor, v_old.scopes);
    perform troth.end_client_grants(p_client, 'client removed');
    delete from troth.client c where c.tenant_id = v_tenant and c.id = p_client;
    perform troth.record('client.removed', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('client', p_client));
    return 'removed';
end $$;

-- The newest secret so far stays good for a while, older ones end now. outcome: rotated | none | no_secret
create function troth.admin_rotate_secret(
    p_domain text, p_session uuid, p_request text, p_client text, p_secret bytea, p_overlap interval
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.clients:update');
    v_tenant uuid := troth.context_tenant();
    v_client troth.client;
begin
    select * into v_client from troth.client c where c.tenant_id = v_tenant and c.id = p_client for update;
    if not found then
        return 'none';
    elsif not coalesce(v_client.registration ->> 'token_endpoint_auth_method', 'none') like 'client_secret_%' then
        return 'no_secret';
    end if;
    perform troth.require_no_less(v_actor, v_client.scopes);
    delete from troth.client_secret s
    where s.tenant_id = v_tenant and s.client_id = p_client and s.created_at <
          (select max(n.created_at) from troth.client_secret n
           where n.tenant_id = v_tenant and n.client_id = p_client);
    update troth.client_secret s set expires_at = least(s.expires_at, now() + least(p_overlap, interval '90 days'))
    where s.tenant_id = v_tenant and s.client_id = p_client;
    insert into troth.client_secret (tenant_id, client_id, secret_hash, created_at)
    values (v_tenant, p_client, p_secret, clock_timestamp());
    perform troth.record('client.secret_rotated', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('client', p_client));
    return 'rotated';
end $$;

-- An initial access token (RFC 7591 section 3). outcome: invited | too_many
create function troth.admin_invite_client(
    p_domain text, p_session uuid, p_request text, p_token bytea, p_scopes text[], p_uses integer, p_life interval
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.clients:create');
    v_tenant uuid := troth.context_tenant();
begin
    perform troth.require_no_less(v_actor, p_scopes);
    perform from troth.tenant where id = v_tenant for no key update;
    delete from troth.initial_access_token t where t.tenant_id = v_tenant and t.expires_at < now();
    if (select count(*) from troth.initial_access_token t where t.tenant_id = v_tenant) >= 100 then
        return 'too_many';
    end if;
    insert into troth.initial_access_token (token_hash, tenant_id, scopes, uses_left, expires_at)
    values (p_token, v_tenant, p_scopes, least(p_uses, 1000), now() + least(p_life, interval '30 days'));
    perform troth.record('client.invited', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('scopes', p_scopes, 'uses', p_uses));
    return 'invited';
end $$;

-- Domains ------------------------------------------------------------------------------------------------------

create type troth.administered_domain as (
    name text,
    app text,
    state text,
    declared boolean,
    brand text,
    challenge text,
    created_at timestamptz,
    proved_at timestamptz
);

create function troth.administered(p_domain troth.domain) returns troth.administered_domain
language plpgsql immutable as $$
begin
    return (p_domain.name, p_domain.app, p_domain.state, not p_domain.added,
            coalesce(p_domain.branding ->> 'name', ''), p_domain.challenge, p_domain.created_at,
            p_domain.proved_at)::troth.administered_domain;
end $$;

create function troth.admin_domains(p_domain text, p_session uuid, p_request text, p_after text, p_limit integer)
returns setof troth.administered_domain
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.domains:read');
    return query
        select a.* from troth.domain d, troth.administered(d) a
        where d.tenant_id = troth.context_tenant() and d.state <> 'removed'
          and (p_after is null or d.name > p_after)
        order by d.name limit p_limit;
end $$;

create function troth.admin_domain(p_domain text, p_session uuid, p_request text, p_name text)
returns setof troth.administered_domain
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.domains:read');
    return query select a.* from troth.domain d, troth.administered(d) a
        where d.tenant_id = troth.context_tenant() and d.state <> 'removed' and d.name = p_name;
end $$;

-- The domain waits for its proof, always: local names are the operator's to give. It leads to the application of the
-- domain that it was asked for on. Whoever claims a name and does not prove it within a week keeps nobody from it.
-- outcome: added | taken | too_many
create function troth.admin_add_domain(
    p_domain text, p_session uuid, p_request text, p_name text, p_branding jsonb, p_challenge text
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.domains:create');
    v_tenant uuid := troth.context_tenant();
    v_old troth.domain;
begin
    perform from troth.tenant where id = v_tenant for no key update;
    select * into v_old from troth.domain d where d.name = p_name for update;
    if v_old.state = 'active' or v_old.state = 'pending' and
       (v_old.tenant_id = v_tenant or v_old.created_at > now() - interval '7 days') then
        return 'taken';
    elsif (select count(*) from troth.domain d where d.tenant_id = v_tenant and d.state = 'pending') >= 20
          or (select count(*) from troth.domain d where d.tenant_id = v_tenant) >= 10000 then
        return 'too_many';
    end if;
    perform troth.put_domain(
        p_name, v_tenant, (select d.app from troth.domain d where d.name = p_domain), p_branding, true,
        coalesce(nullif(p_challenge, ''), gen_random_uuid()::text));
    update troth.domain d set created_at = now() where d.name = p_name;
    perform troth.record('domain.added', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('domain', p_name));
    return 'added';
end $$;

-- What a domain waits for.
create function troth.admin_challenge(p_domain text, p_session uuid, p_request text, p_name text)
returns table (state text, challenge text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.domains:update');
    return query select d.state, d.challenge from troth.domain d
        where d.tenant_id = troth.context_tenant() and d.state <> 'removed' and d.name = p_name;
end $$;

-- The record with this token was seen. True when the domain serves now: it may have been given to somebody else, or
-- asked for anew, meanwhile.
create function troth.admin_prove_domain(
    p_domain text, p_session uuid, p_request text, p_name text, p_challenge text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.domains:update');
begin
    update troth.domain d set state = 'active', proved_at = now()
    where d.tenant_id = troth.context_tenant() and d.name = p_name and d.state = 'pending'
      and d.challenge = p_challenge;
    if not found then
        return exists (select from troth.domain d where d.tenant_id = troth.context_tenant() and d.name = p_name
                       and d.state = 'active');
    end if;
    perform troth.record('domain.proved', troth.context_tenant(), v_actor, p_domain, p_request,
                         jsonb_build_object('domain', p_name));
    return true;
end $$;

-- outcome: removed | none | declared | own (nobody saws off the branch that they sit on)
create function troth.admin_remove_domain(p_domain text, p_session uuid, p_request text, p_name text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.domains:delete');
    v_old troth.domain;
begin
    select * into v_old from troth.domain d
    where d.tenant_id = troth.context_tenant() and d.name = p_name and d.state <> 'removed' for update;
    if not found then
        return 'none';
    elsif p_name = p_domain then
        return 'own';
    elsif not v_old.added then
        return 'declared';
    end if;
    update troth.domain d set state = 'removed' where d.name = p_name;
    perform troth.close_domain(p_name);
    perform troth.record('domain.removed', v_old.tenant_id, v_actor, p_domain, p_request,
                         jsonb_build_object('domain', p_name));
    return 'removed';
end $$;

-- Settings: the tenant's policy, and how the domain looks that they are asked for on ---------------------------

create function troth.settings_tag(p_policy jsonb, p_branding jsonb) returns text
language plpgsql immutable as $$
begin
    return left(encode(sha256(convert_to(jsonb_build_array(p_policy, p_branding)::text, 'UTF8')), 'hex'), 16);
end $$;

create function troth.admin_settings(p_domain text, p_session uuid, p_request text)
returns table (policy jsonb, branding jsonb, declared boolean, tag text)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform troth.administer(p_domain, p_session, 'admin.settings:read');
    return query
        select t.policy, d.branding, not t.added or not d.added, troth.settings_tag(t.policy, d.branding)
        from troth.tenant t join troth.domain d on d.tenant_id = t.id and d.name = p_domain;
end $$;

-- Who decides which roles people join with gives those roles. outcome: changed | stale | unknown_role
create function troth.admin_put_settings(
    p_domain text, p_session uuid, p_request text, p_policy jsonb, p_branding jsonb, p_tags text[]
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.settings:update');
    v_tenant troth.tenant;
    v_branding jsonb;
    v_roles text[] := array(select jsonb_array_elements_text(coalesce(p_policy -> 'joining_roles', '[]')));
begin
    select * into v_tenant from troth.tenant t where t.id = troth.context_tenant() for update;
    select d.branding into v_branding from troth.domain d where d.name = p_domain for update;
    if p_tags is not null and not troth.settings_tag(v_tenant.policy, v_branding) = any (p_tags) then
        return 'stale';
    elsif exists (select unnest(v_roles) except select r.name from troth.role r) then
        return 'unknown_role';
    end if;
    perform troth.require_no_less(v_actor, troth.scopes_of(v_roles));
    update troth.tenant t set policy = p_policy where t.id = v_tenant.id;
    update troth.domain d set branding = p_branding where d.name = p_domain;
    perform troth.record('tenant.policy', v_tenant.id, v_actor, p_domain, p_request,
                         jsonb_build_object('policy', p_policy));
    return 'changed';
end $$;

-- People -------------------------------------------------------------------------------------------------------

-- p_order null: nothing is sent here. outcome: invited | exists | unknown_role | no_mail
create function troth.admin_invite(
    p_domain text, p_session uuid, p_request text, p_person uuid, p_email_index bytea, p_profile bytea,
    p_roles text[], p_order uuid, p_language text
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.users:create');
    v_tenant uuid := troth.context_tenant();
begin
    if p_order is null then
        return 'no_mail';
    elsif exists (select unnest(p_roles) except select r.name from troth.role r) then
        return 'unknown_role';
    end if;
    perform troth.require_no_less(v_actor, troth.scopes_of(p_roles));
    insert into troth.person (id, tenant_id, email_index, profile, roles)
    values (p_person, v_tenant, p_email_index, p_profile, p_roles)
    on conflict (tenant_id, email_index) do nothing;
    if not found then
        return 'exists';
    end if;
    insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id)
    values (p_order, v_tenant, p_domain, 'invitation', p_language, p_person);
    perform troth.record('person.invited', v_tenant, v_actor, p_domain, p_request,
                         jsonb_build_object('person', p_person, 'roles', p_roles));
    return 'invited';
end $$;

-- To the address that the person has, and to nobody else; who never chose a password is invited again. Negative: an
-- outcome (-1 no_mail, -2 none, -3 disabled); else how many seconds to wait, 0 when it was ordered.
create function troth.admin_order_reset(
    p_domain text, p_session uuid, p_request text, p_person uuid, p_order uuid, p_language text
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_actor uuid := troth.administer(p_domain, p_session, 'admin.users:update');
    v_tenant uuid := troth.context_tenant();
    v_person troth.person;
    v_wait integer;
begin
    select * into v_person from troth.person p where p.tenant_id = v_tenant and p.id = p_person;
    if p_order is null then
        return -1;
    elsif v_person.id is null then
        return -2;
    elsif v_person.disabled then
        return -3;
    end if;
    v_wait := troth.charge(v_tenant, array['mail_account'], array[v_person.email_index]);
    if v_wait = 0 then
        insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id)
        values (p_order, v_tenant, p_domain,
                case when v_person.password_hash is null then 'invitation' else 'reset' end, p_language, p_person);
        perform troth.record('person.reset_ordered', v_tenant, v_actor, p_domain, p_request,
                             jsonb_build_object('person', p_person));
    end if;
    return v_wait;
end $$;

revoke execute on all functions in schema troth from public;
grant execute on function
    troth.admin_clients(text, uuid, text, text, integer),
    troth.admin_client(text, uuid, text, text),
    troth.admin_add_client(text, uuid, text, text, text, text[], text[], jsonb, bytea),
    troth.admin_change_client(text, uuid, text, text, text, text[], text[], boolean, text[]),
    troth.admin_remove_client(text, uuid, text, text),
    troth.admin_rotate_secret(text, uuid, text, text, bytea, interval),
    troth.admin_invite_client(text, uuid, text, bytea, text[], integer, interval),
    troth.admin_domains(text, uuid, text, text, integer),
    troth.admin_domain(text, uuid, text, text),
    troth.admin_add_domain(text, uuid, text, text, jsonb, text),
    troth.admin_challenge(text, uuid, text, text),
    troth.admin_prove_domain(text, uuid, text, text, text),
    troth.admin_remove_domain(text, uuid, text, text),
    troth.admin_settings(text, uuid, text),
    troth.admin_put_settings(text, uuid, text, jsonb, jsonb, text[]),
    troth.admin_invite(text, uuid, text, uuid, bytea, bytea, text[], uuid, text),
    troth.admin_order_reset(text, uuid, text, uuid, uuid, text)
to troth_app;
