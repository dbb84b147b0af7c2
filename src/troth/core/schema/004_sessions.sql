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

-- The feed ----------------------------------------------------------------------------------------------------

-- Whatever ends sessions is told here in the transaction that ends them, whoever does it: by NOTIFY to the
-- instances that listen, and in this table to one that lost its connection meanwhile (a failover drops what
-- was notified). `over` ends what is open; without it, only what an instance remembers is no longer good.
create table troth.ending (
    id bigint generated always as identity primary key,
    tenant_id uuid references troth.tenant on delete cascade,
    at timestamptz not null default now(), -- as of sessions_from: what was begun since is not meant
    kind text not null check (kind in ('session', 'person', 'client', 'tenant', 'all')),
    ref text not null,
    over boolean not null
);
comment on column troth.ending.ref is 'an id; of a client: tenant/client';
create index ending_at on troth.ending (at);
alter table troth.ending enable row level security;
alter table troth.ending force row level security;
create policy told_to_every_instance on troth.ending for select using (true);
create policy told_by_whoever_ends on troth.ending for insert with check (true);
create policy only_long_told on troth.ending for delete using (at < now() - interval '1 day');
create policy locked_by_the_sweep on troth.ending for update using (at < now() - interval '1 day')
    with check (false);
grant select, insert, update (over), delete on troth.ending to troth_app;
grant select on troth.ending to troth_auditor;

create function troth.announce(p_tenant uuid, p_kind text, p_ref text, p_over boolean) returns void
language plpgsql as $$
begin
    insert into troth.ending (tenant_id, kind, ref, over) values (p_tenant, p_kind, p_ref, p_over);
    perform pg_notify('troth_endings',
                      json_build_object('kind', p_kind, 'ref', p_ref, 'over', p_over,
                                        'at', extract(epoch from now()))::text);
end $$;

-- One beat of a listener's heart. The message goes through the write-ahead log, so that the commit waits for
-- the standbys: a leader that was cut off from them cannot make its listeners believe that it still leads.
create function troth.beat(p_listener text) returns void
language plpgsql as $$
begin
    perform pg_logical_emit_message(true, 'troth.beat', '');
    perform pg_notify('troth_endings', json_build_object('kind', 'beat', 'ref', p_listener)::text);
end $$;

create function troth.session_ends() returns trigger
language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.ended_at is null and old.expires_at > now() then
            perform troth.announce(old.tenant_id, 'session', old.id::text, true);
        end if;
    elsif old.ended_at is null then
        perform troth.announce(new.tenant_id, 'session', new.id::text,
                               new.ended_at is not null or new.expires_at <= now());
    end if;
    return null;
end $$;
create trigger session_changes
    after update of ended_at, expires_at, token_hash, amr, scopes on troth.session
    for each row when (
        new.ended_at is distinct from old.ended_at or new.expires_at < old.expires_at
        or new.token_hash is distinct from old.token_hash or new.amr <> old.amr
        or new.scopes is distinct from old.scopes)
    execute function troth.session_ends();
create trigger session_is_deleted after delete on troth.session
    for each row execute function troth.session_ends();

-- Whoever loses a role signs in again: a token that was minted with it would outlive it otherwise. A role more
-- takes nothing away and counts from the next token on.
create function troth.person_loses_role() returns trigger
language plpgsql as $$
begin
    new.sessions_from := greatest(new.sessions_from, now());
    return new;
end $$;
create trigger person_loses_role before update of roles on troth.person
    for each row when (not new.roles @> old.roles) execute function troth.person_loses_role();

create function troth.person_changes() returns trigger
language plpgsql as $$
begin
    perform troth.announce(new.tenant_id, 'person', new.id::text,
                           new.sessions_from > old.sessions_from or (new.disabled and not old.disabled));
    return null;
end $$;
create trigger person_changes after update on troth.person
    for each row when (
        new.sessions_from > old.sessions_from or new.disabled <> old.disabled
        or new.roles <> old.roles or new.profile <> old.profile)
    execute function troth.person_changes();

-- The same for a role that is given fewer scopes, or is taken away: its holders sign in again.
create function troth.role_changes() returns trigger
language plpgsql as $$
declare
    v_context text := coalesce(current_setting('troth.tenant', true), '');
    v_tenant uuid;
begin
    perform troth.announce(old.tenant_id, 'all', '', false);
    if tg_op = 'UPDATE' and new.scopes @> old.scopes and new.name = old.name then
        return null;
    end if;
    for v_tenant in select t.id from troth.tenant t where old.tenant_id is null or t.id = old.tenant_id loop
        perform set_config('troth.tenant', v_tenant::text, true);
        update troth.person set sessions_from = now() where old.name = any (roles);
    end loop;
    perform set_config('troth.tenant', v_context, true);
    return null;
end $$;
create trigger role_changes after update or delete on troth.role
    for each row execute function troth.role_changes();

create function troth.client_changes() returns trigger
language plpgsql as $$
begin
    perform troth.announce(old.tenant_id, 'client', old.tenant_id || '/' || old.id,
                           tg_op = 'DELETE' or (new.disabled and not old.disabled));
    return null;
end $$;
create trigger client_changes after update or delete on troth.client
    for each row execute function troth.client_changes();

create function troth.tenant_changes() returns trigger
language plpgsql as $$
begin
    perform troth.announce(new.id, 'tenant', new.id::text, not new.active);
    return null;
end $$;
create trigger tenant_changes after update of active on troth.tenant
    for each row when (new.active <> old.active) execute function troth.tenant_changes();

-- Sessions --------------------------------------------------------------------------------------------------

-- As in 002, with how and from where the person signed in.
drop function troth.begin_session(text, uuid, bytea, uuid, interval, interval, bytea, text, text);
create function troth.begin_session(
    p_domain text, p_id uuid, p_hash bytea, p_person uuid, p_idle interval, p_absolute interval,
    p_amr text[], p_begun_from bytea, p_previous bytea default null, p_request text default null,
    p_verified text default null, p_most integer default 20
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
        -- Of more sessions than one person may have at once the oldest end.
        perform troth.end_session_tree(s.id, 'too many')
        from (select l.id from troth.lasting_session l join troth.session s on s.id = l.id
              where s.person_id = p_person and l.parent_id is null
              order by s.created_at desc offset p_most) s;
    end if;
    delete from troth.ending where id in (
        select id from troth.ending where at < now() - interval '1 day' limit 16 for update skip locked);
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

-- What a person may see and end of their own, on the strength of a living session of theirs -------------------

create function troth.own_sessions(p_domain text, p_session uuid)
returns table (id uuid, domain text, begun_from bytea, amr text[], created_at timestamptz,
               seen_at timestamptz, expires_at timestamptz)
language plpgsql stable as $$
declare
    v_person uuid;
begin
    perform troth.enter_domain(p_domain);
    select s.person_id into v_person from troth.session s where s.id = p_session and s.domain = p_domain;
    return query
        select s.id, s.domain, s.begun_from, s.amr, s.created_at, s.seen_at, s.expires_at
        from troth.session s join troth.lasting_session l on l.id = s.id
        where s.person_id = v_person and s.parent_id is null
        order by s.seen_at desc limit 100;
end $$;

create function troth.own_grants(p_domain text, p_session uuid)
returns table (id uuid, client text, scopes text[], created_at timestamptz)
language plpgsql stable as $$
declare
    v_person uuid;
begin
    perform troth.enter_domain(p_domain);
    select s.person_id into v_person from troth.session s where s.id = p_session and s.domain = p_domain;
    return query
        select s.id, c.name, s.scopes, s.created_at
        from troth.session s
        join troth.lasting_session l on l.id = s.id
        join troth.lasting_session parent on parent.id = s.parent_id
        join troth.client c on c.tenant_id = s.tenant_id and c.id = s.client_id and not c.disabled
        where s.person_id = v_person
        order by s.created_at desc limit 100;
end $$;

-- Ends one session of the person, or what one client was granted; the client is then asked about again.
create function troth.end_own(p_domain text, p_session uuid, p_target uuid, p_request text default null)
returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_person uuid;
    v_row troth.session;
begin
    if not troth.session_alive(p_session) then
        return false;
    end if;
    select s.person_id into v_person from troth.session s where s.id = p_session and s.domain = p_domain;
    select * into v_row from troth.session s where s.id = p_target and s.person_id = v_person;
    if not found or not troth.end_session_tree(p_target, 'ended by its person') then
        return false;
    end if;
    delete from troth.consent where session_id = v_row.parent_id and client_id = v_row.client_id;
    perform troth.record(case when v_row.parent_id is null then 'session.ended' else 'grant.revoked' end,
                         v_tenant, v_person, p_domain, p_request,
                         jsonb_build_object('session', p_target, 'client', v_row.client_id,
                                            'reason', 'ended by its person'));
    return true;
end $$;

-- Ends every other session of the person, on all domains of the tenant; with p_own this one too. Returns how
-- many ended.
create function troth.end_all_own(
    p_domain text, p_session uuid, p_own boolean, p_request text default null
) returns integer
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_person uuid;
    v_ended integer;
begin
    if not troth.session_alive(p_session) then
        return 0;
    end if;
    select s.person_id into v_person from troth.session s where s.id = p_session and s.domain = p_domain;
    select count(*) filter (where troth.end_session_tree(s.id, 'ended by its person')) into v_ended
    from (select id from troth.session
          where person_id = v_person and parent_id is null and ended_at is null and expires_at > now()
            and (p_own or id <> p_session)) s;
    perform troth.record('session.ended_everywhere', v_tenant, v_person, p_domain, p_request,
                         jsonb_build_object('ended', v_ended, 'own', p_own));
    return v_ended;
end $$;

revoke execute on all functions in schema troth from public;
grant execute on function
    troth.begin_session(text, uuid, bytea, uuid, interval, interval, text[], bytea, bytea, text, text, integer),
    troth.raise_session(text, bytea, bytea, text[], text),
    troth.own_sessions(text, uuid),
    troth.own_grants(text, uuid),
    troth.end_own(text, uuid, uuid, text),
    troth.end_all_own(text, uuid, boolean, text),
    troth.announce(uuid, text, text, boolean),
    troth.beat(text),
    troth.grant_takes_amr(), troth.session_ends(), troth.person_loses_role(), troth.person_changes(),
    troth.role_changes(), troth.client_changes(), troth.tenant_changes()
    to troth_app;
