-- What a session knows of its sign-in, a step up within it, and its end as the person sees it.

alter table troth.session
    add column amr text[] not null default '{}',
    add column begun_from bytea;
comment on column troth.session.amr is 'how the person proved who they are (RFC 8176)';
comment on column troth.session.begun_from is 'sealed: browser and truncated network of the sign-in';
grant update (token_hash, authenticated_at, amr) on troth.session to troth_app;
grant select (amr) on troth.session to troth_auditor;

-- A grant was given on the strength of what its session had proved at that moment, whoever writes the row.
create function troth.grant_takes_amr() returns trigger
language plpgsql as $$
begin
    new.amr := coalesce((select s.amr from troth.session s where s.id = new.parent_id), new.amr);
    return new;
end $$;
create trigger grant_takes_amr before insert on troth.session
    for each row when (new.parent_id is not null) execute function troth.grant_takes_amr();

alter type troth.open_session add attribute amr text[];
alter type troth.open_session add attribute created_at timestamptz;

create or replace function troth.describe_session(p_session uuid) returns troth.open_session
language plpgsql stable as $$
declare
    v_open troth.open_session;
begin
    select 'open', s.id, s.tenant_id, s.domain, p.id, p.profile, troth.scopes_of(p.roles), s.client_id,
           s.scopes, s.authenticated_at, s.expires_at, s.amr, s.created_at
    into v_open
    from troth.session s join troth.person p on p.id = s.person_id
    where s.id = p_session;
    return v_open;
end $$;

-- As in 002, with how and from where the person signed in.
drop function troth.begin_session(text, uuid, bytea, uuid, interval, interval, bytea, text, text);
create function troth.begin_session(
    p_domain text, p_id uuid, p_hash bytea, p_person uuid, p_idle interval, p_absolute interval,
    p_amr text[], p_begun_from bytea, p_previous bytea default null, p_request text default null,
    p_verified text default null
) returns troth.open_session
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_open troth.open_session;
    v_old uuid;
begin
    if p_previous is not null then
        select id into v_old from troth.session where token_hash = p_previous and domain = p_domain;
        if found then
            perform troth.end_session_tree(v_old, 'rotated');
        end if;
    end if;
    delete from troth.session
    where id in (select id from troth.session
                 where expires_at < now() - interval '7 days' limit 16 for update skip locked);
    insert into troth.session (id, tenant_id, domain, person_id, token_hash, idle, expires_at, amr, begun_from)
    select p_id, v_tenant, p_domain, p.id, p_hash, p_idle, now() + p_absolute, p_amr, p_begun_from
    from troth.person p
    where p.id = p_person and not p.disabled and (p_verified is null or p.password_hash = p_verified)
    for share -- waits for a change that is about to be committed, and then looks again
    on conflict (id) do nothing;
    if found then
        perform troth.record('session.begun', v_tenant, p_person, p_domain, p_request,
                             jsonb_build_object('session', p_id, 'amr', p_amr));
    end if;
    if troth.session_alive(p_id) then
        return troth.describe_session(p_id);
    end if;
    v_open.outcome := 'over';
    return v_open;
end $$;

-- The person proved more, or the same anew: the session goes on under another cookie, for the one before was
-- handed out when less was known of its holder. Of two calls at once with one cookie, one wins. Repeating the
-- call with the same new hash changes nothing.
create function troth.raise_session(
    p_domain text, p_hash bytea, p_fresh bytea, p_amr text[], p_request text default null
) returns troth.open_session
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.session;
    v_open troth.open_session;
begin
    select * into v_row from troth.session
    where token_hash in (p_hash, p_fresh) and domain = p_domain for update;
    if not found or not troth.session_alive(v_row.id) then
        v_open.outcome := 'over';
        return v_open;
    end if;
    if v_row.token_hash = p_hash then
        update troth.session
        set token_hash = p_fresh, authenticated_at = now(), seen_at = now(), amr = p_amr
        where id = v_row.id;
        perform troth.record('session.raised', v_tenant, v_row.person_id, p_domain, p_request,
                             jsonb_build_object('session', v_row.id, 'amr', p_amr));
    end if;
    return troth.describe_session(v_row.id);
end $$;

revoke execute on all functions in schema troth from public;
grant execute on function
    troth.begin_session(text, uuid, bytea, uuid, interval, interval, text[], bytea, bytea, text, text),
    troth.raise_session(text, bytea, bytea, text[], text)
    to troth_app;
