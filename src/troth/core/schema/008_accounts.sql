-- Accounts: what slows guessing down, messages waiting to be sent, and the links in them.
--
-- A web instance may ask for a message and present a link. It makes no link itself, so one that was taken over can
-- confirm nobody's address; what a link is good for happens in functions with the owner's rights, which check
-- the link first. Times are the database's.

alter table troth.person add column email_verified_at timestamptz;
grant select (email_verified_at) on troth.person to troth_auditor;

-- How often something was tried lately. `key` is a keyed hash: neither address nor network can be read from it.
create table troth.attempt (
    tenant_id uuid not null references troth.tenant,
    kind text not null,
    key bytea not null,
    count integer not null default 0,
    blocked_until timestamptz not null default '-infinity',
    known_until timestamptz not null default '-infinity',
    updated_at timestamptz not null default now(),
    primary key (tenant_id, kind, key)
);
comment on column troth.attempt.known_until is 'of an account at a network: it signed in there before';
create index attempt_age on troth.attempt (tenant_id, updated_at);

-- A message that was asked for. It is written when it is sent, and so is the link in it: neither lies here.
create table troth.mail_order (
    id uuid primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain on delete cascade,
    kind text not null check (kind in ('reset', 'registration', 'verification', 'email_change', 'invitation',
                                       'password_changed', 'email_changed')),
    language text not null check (language in ('en', 'de')),
    person_id uuid references troth.person on delete cascade,
    payload bytea,
    created_at timestamptz not null default now(),
    attempts integer not null default 0,
    due_at timestamptz not null default now(),
    done_at timestamptz,
    outcome text
);
comment on column troth.mail_order.payload is 'sealed: to whom, and what they asked for; erased when it is done';
create index mail_order_due on troth.mail_order (due_at) where done_at is null;
create index mail_order_done on troth.mail_order (done_at) where done_at is not null;

create table troth.account_link (
    token_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain on delete cascade,
    kind text not null check (kind in ('reset', 'registration', 'verification', 'email_change', 'invitation')),
    person_id uuid references troth.person on delete cascade,
    email_index bytea not null,
    payload bytea,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz
);
comment on column troth.account_link.payload is 'sealed: the profile that it brings about';
create index account_link_subject on troth.account_link (tenant_id, email_index);
create index account_link_expiry on troth.account_link (tenant_id, expires_at);

do $$
declare
    name text;
begin
    foreach name in array array['attempt', 'mail_order', 'account_link']
    loop
        execute format('alter table troth.%I enable row level security', name);
        execute format('alter table troth.%I force row level security', name);
        execute format(
            'create policy own_tenant on troth.%I
                using (tenant_id = (select troth.context_tenant()))
                with check (tenant_id = (select troth.context_tenant()))', name);
    end loop;
end $$;

-- One worker of the operator's sends for all tenants.
create policy by_the_operator on troth.mail_order to troth_owner using (true) with check (true);
-- An invitation comes with roles; only the operator's commands ask for one.
create policy not_by_an_instance on troth.mail_order as restrictive for insert to troth_app
    with check (kind in ('reset', 'registration', 'verification', 'email_change'));

grant select, insert, update, delete on troth.attempt to troth_app;
grant select (id), insert on troth.mail_order to troth_app;
grant select (token_hash, tenant_id, domain, kind, person_id, payload, expires_at, used_at)
    on troth.account_link to troth_app;
grant select (id, tenant_id, domain, kind, language, created_at, attempts, due_at, done_at, outcome)
    on troth.mail_order to troth_auditor;
create policy audited on troth.mail_order for select to troth_auditor using (true);

-- Slowing down -------------------------------------------------------------------------------------------------

-- How many tries are free, and how the wait after each further one grows: doubled each time, up to a most.
create function troth.attempt_wait(p_kind text, p_count integer) returns interval
language plpgsql immutable as $$
declare
    v_free integer;
    v_first integer;
    v_most integer;
begin
    select free, first, most into v_free, v_first, v_most
    from (values ('account', 10, 2, 60),        -- from anywhere that is not known: a guess a minute in the end
                 ('network', 30, 1, 60),        -- by one place, at all accounts: many people may share it
                 ('pair', 5, 2, 300),           -- by one place, at one account
                 ('device', 10, 2, 60),         -- a browser that was signed in before
                 ('mail_account', 3, 300, 3600),
                 ('mail_network', 10, 60, 3600)) as budget (kind, free, first, most)
    where kind = p_kind;
    if p_count < v_free then
        return interval '0';
    end if;
    return make_interval(secs => least(v_most, v_first * 2 ^ least(p_count - v_free, 20)));
end $$;

-- Counts one try against each of these budgets, or none when one of them has to wait: how many seconds. The rows
-- are locked in one order, so that of many tries at once each sees what the one before it has counted.
create function troth.charge(p_tenant uuid, p_kinds text[], p_keys bytea[]) returns integer
language plpgsql as $$
declare
    v_wait integer;
    v_kind text;
    v_count integer;
begin
    insert into troth.attempt as a (tenant_id, kind, key)
    select p_tenant, b.kind, b.key from unnest(p_kinds, p_keys) b (kind, key) order by b.kind
    on conflict (tenant_id, kind, key) do update
        set count = case when a.updated_at < now() - interval '1 hour' then 0 else a.count end;
    select ceil(extract(epoch from max(a.blocked_until) - now())) into v_wait
    from troth.attempt a join unnest(p_kinds, p_keys) b (kind, key) using (kind, key)
    where a.tenant_id = p_tenant and a.blocked_until > now();
    if v_wait is not null then
        return greatest(v_wait, 1);
    end if;
    for v_kind, v_count in
        update troth.attempt a
        -- A try that began earlier but comes later must not take a free one's own moment for a wait.
        set count = a.count + 1, updated_at = now(),
            blocked_until = coalesce(now() + nullif(troth.attempt_wait(a.kind, a.count + 1), interval '0'),
                                     '-infinity')
        from unnest(p_kinds, p_keys) b (kind, key)
        where a.tenant_id = p_tenant and a.kind = b.kind and a.key = b.key
        returning a.kind, a.count
    loop
        -- Once for each row of failures, not for each of them: the trail must not grow with a flood.
        if troth.attempt_wait(v_kind, v_count) > interval '0'
           and troth.attempt_wait(v_kind, v_count - 1) = interval '0' then
            perform troth.record('attempts.slowed', p_tenant, null, null, null,
                                 jsonb_build_object('budget', v_kind, 'tries', v_count));
        end if;
    end loop;
    return 0;
end $$;

create type troth.sign_in_try as (
    wait integer,
    known boolean,
    id uuid,
    password_hash text,
    disabled boolean
);

-- Counts a sign-in before its password is looked at, and finds the account. A device that was signed in before,
-- or a network where this account was, has a budget of its own: an attacker elsewhere uses up only that of
-- strangers, and the person signs in meanwhile.
--
-- For an address without an account the answer is its neighbour's hash without an id: checked against it, unknown
-- addresses cost what known ones do, also where imported hashes cost more than our own.
--
-- What a failover forgets of counters harms nobody, so nothing waits for a standby.
create function troth.try_sign_in(
    p_domain text, p_account bytea, p_network bytea, p_pair bytea, p_device bytea
) returns troth.sign_in_try
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_try troth.sign_in_try;
begin
    perform set_config('synchronous_commit', 'local', true);
    perform troth.sweep_attempts(v_tenant);
    v_try.known := p_device is not null or exists (
        select from troth.attempt
        where tenant_id = v_tenant and kind = 'pair' and key = p_pair and known_until > now());
    v_try.wait := case
        when p_device is not null then troth.charge(v_tenant, array['device'], array[p_device])
        when v_try.known then troth.charge(v_tenant, array['pair'], array[p_pair])
        when p_network is null then troth.charge(v_tenant, array['account'], array[p_account])
        else troth.charge(v_tenant, array['account', 'network', 'pair'], array[p_account, p_network, p_pair])
    end;
    if v_try.wait > 0 then
        return v_try;
    end if;
    select p.id, p.password_hash, p.disabled into v_try.id, v_try.password_hash, v_try.disabled
    from troth.person p where p.tenant_id = v_tenant and p.email_index = p_account;
    if v_try.password_hash is null then
        v_try.password_hash := troth.neighbours_hash(v_tenant, p_account);
    else
        return v_try;
    end if;
    v_try.id := null;
    return v_try;
end $$;

-- The hash of the account whose index comes next, in a circle; null when the tenant has none.
create function troth.neighbours_hash(p_tenant uuid, p_email_index bytea) returns text
language plpgsql stable as $$
declare
    v_hash text;
begin
    select password_hash into v_hash from troth.person
    where tenant_id = p_tenant and email_index > p_email_index and password_hash is not null
    order by email_index limit 1;
    if not found then
        select password_hash into v_hash from troth.person
        where tenant_id = p_tenant and password_hash is not null
        order by email_index limit 1;
    end if;
    return v_hash;
end $$;

-- The password fitted: what was counted for it is taken back, and the account is known at this network.
create function troth.sign_in_fitted(
    p_domain text, p_account bytea, p_network bytea, p_pair bytea, p_device bytea, p_remember interval
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    perform set_config('synchronous_commit', 'local', true);
    update troth.attempt set count = greatest(count - 1, 0), blocked_until = '-infinity'
    where tenant_id = v_tenant and (kind = 'account' and key = p_account or kind = 'network' and key = p_network);
    update troth.attempt set count = 0, blocked_until = '-infinity'
    where tenant_id = v_tenant and kind = 'device' and key = p_device;
    if p_pair is not null then
        insert into troth.attempt as a (tenant_id, kind, key, known_until)
        values (v_tenant, 'pair', p_pair, now() + p_remember)
        on conflict (tenant_id, kind, key) do update
            set count = 0, blocked_until = '-infinity', known_until = excluded.known_until, updated_at = now();
    end if;
end $$;

create function troth.sweep_attempts(p_tenant uuid) returns void
language plpgsql as $$
begin
    delete from troth.attempt where (tenant_id, kind, key) in (
        select tenant_id, kind, key from troth.attempt
        where tenant_id = p_tenant and updated_at < now() - interval '2 hours' and known_until < now()
        order by updated_at limit 16 for update skip locked);
end $$;

-- Messages -------------------------------------------------------------------------------------------------------

-- Asks for a message, whether anybody has the address or not: who sends it looks that up. Returns how many
-- seconds this network has to wait. An address that was asked for too often gets no more, which is not told.
create function troth.order_mail(
    p_domain text, p_id uuid, p_kind text, p_language text, p_person uuid, p_payload bytea, p_account bytea,
    p_network bytea, p_request text
) returns integer
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_wait integer := 0;
begin
    perform troth.sweep_attempts(v_tenant);
    if p_network is not null then
        v_wait := troth.charge(v_tenant, array['mail_network'], array[p_network]);
    end if;
    if v_wait > 0 then
        return v_wait;
    end if;
    if troth.charge(v_tenant, array['mail_account'], array[p_account]) = 0 then
        insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id, payload)
        values (p_id, v_tenant, p_domain, p_kind, p_language, p_person, p_payload)
        on conflict (id) do nothing;
        perform troth.record('mail.ordered', v_tenant, p_person, p_domain, p_request,
                             jsonb_build_object('kind', p_kind));
    else
        perform troth.record('mail.too_many', v_tenant, p_person, p_domain, p_request,
                             jsonb_build_object('kind', p_kind));
    end if;
    return 0;
end $$;

-- Takes what is due, each for a while; whoever takes it and dies leaves it to the next. Old rows are swept.
create function troth.take_mail(p_limit integer, p_lease interval) returns setof troth.mail_order
language plpgsql as $$
begin
    delete from troth.mail_order where id in (
        select id from troth.mail_order where done_at < now() - interval '30 days'
        limit 100 for update skip locked);
    return query
        update troth.mail_order set attempts = attempts + 1, due_at = now() + p_lease
        where id in (select id from troth.mail_order where done_at is null and due_at <= now()
                     order by due_at limit p_limit for update skip locked)
        returning *;
end $$;

-- Done, one way or another; what it held about a person is erased.
create function troth.finish_mail(p_id uuid, p_outcome text) returns void
language plpgsql as $$
begin
    update troth.mail_order set done_at = now(), outcome = p_outcome, payload = null where id = p_id;
end $$;

create function troth.postpone_mail(p_id uuid, p_outcome text, p_wait interval) returns void
language plpgsql as $$
begin
    update troth.mail_order set due_at = now() + p_wait, outcome = p_outcome where id = p_id;
end $$;

-- Links ----------------------------------------------------------------------------------------------------------

-- A new link makes earlier ones of its kind for the same address useless.
create function troth.make_link(
    p_tenant uuid, p_domain text, p_kind text, p_person uuid, p_email_index bytea, p_payload bytea, p_hash bytea,
    p_life interval
) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    delete from troth.account_link where token_hash in (
        select token_hash from troth.account_link
        where tenant_id = p_tenant and expires_at < now() - interval '7 days'
        limit 16 for update skip locked);
    update troth.account_link set used_at = now()
    where kind = p_kind and email_index = p_email_index and used_at is null and token_hash <> p_hash;
    insert into troth.account_link (token_hash, tenant_id, domain, kind, person_id, email_index, payload, expires_at)
    values (p_hash, p_tenant, p_domain, p_kind, p_person, p_email_index, p_payload, now() + p_life)
    on conflict (token_hash) do nothing;
end $$;

create function troth.find_link(p_domain text, p_hash bytea)
returns table (kind text, person_id uuid, profile bytea)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select l.kind, l.person_id, coalesce(l.payload, p.profile)
        from troth.account_link l left join troth.person p on p.id = l.person_id
        where l.token_hash = p_hash and l.domain = p_domain and l.used_at is null and l.expires_at > now()
            and (p.id is null or not p.disabled);
end $$;

-- Uses a link up: of any number of callers at once, one. Null when it is none of these kinds, of another domain,
-- used, replaced or too old.
create function troth.use_link(p_domain text, p_hash bytea, p_kinds text[]) returns troth.account_link
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_link troth.account_link;
begin
    update troth.account_link set used_at = now()
    where token_hash = p_hash and tenant_id = v_tenant and domain = p_domain and kind = any (p_kinds)
        and used_at is null and expires_at > now()
    returning * into v_link;
    return v_link;
end $$;

-- A new password by a link of a reset or an invitation: everything that was begun before is over, and so is every
-- other such link. The address is confirmed by it. Returns whose it is; null when the link is good for nothing.
create function troth.reset_password(
    p_domain text, p_hash bytea, p_password_hash text, p_language text, p_request text default null
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_link troth.account_link := troth.use_link(p_domain, p_hash, array['reset', 'invitation']);
begin
    update troth.person
    set password_hash = p_password_hash, sessions_from = now(), email_verified_at = coalesce(email_verified_at, now())
    where id = v_link.person_id and email_index = v_link.email_index and not disabled;
    if not found then
        perform troth.record('link.refused', troth.context_tenant(), null, p_domain, p_request);
        return null;
    end if;
    update troth.account_link set used_at = now()
    where person_id = v_link.person_id and kind in ('reset', 'invitation', 'email_change') and used_at is null;
    perform troth.record(case v_link.kind when 'reset' then 'password.reset' else 'invitation.accepted' end,
                         v_link.tenant_id, v_link.person_id, p_domain, p_request);
    if v_link.kind = 'reset' then
        perform troth.notify_person('password_changed', v_link.tenant_id, v_link.person_id, null, p_domain,
                                    p_language);
    end if;
    return v_link.person_id;
end $$;

-- Changes a password that its owner has just proved to know. Every session is over, this one too: a new one is
-- begun by the caller. False when the session ended or the password changed meanwhile.
create function troth.change_password(
    p_domain text, p_session bytea, p_old text, p_new text, p_language text, p_request text default null
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_session troth.session;
begin
    select * into v_session from troth.session where token_hash = p_session and domain = p_domain;
    if not found or not troth.session_alive(v_session.id) then
        return false;
    end if;
    update troth.person set password_hash = p_new, sessions_from = now()
    where id = v_session.person_id and password_hash = p_old;
    if not found then
        return false;
    end if;
    update troth.account_link set used_at = now()
    where person_id = v_session.person_id and kind in ('reset', 'invitation', 'email_change') and used_at is null;
    perform troth.record('password.changed', v_tenant, v_session.person_id, p_domain, p_request);
    perform troth.notify_person('password_changed', v_tenant, v_session.person_id, null, p_domain, p_language);
    return true;
end $$;

-- A person who registered, by the link that was sent to their address. Whether strangers may register, and as what,
-- is read here from the tenant's own policy. Null when the link is good for nothing or it is closed by now.
create function troth.register_person(
    p_domain text, p_hash bytea, p_id uuid, p_profile bytea, p_password_hash text, p_request text default null
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_link troth.account_link := troth.use_link(p_domain, p_hash, array['registration']);
    v_policy jsonb := (select policy from troth.tenant where id = v_link.tenant_id and active);
begin
    if v_link.token_hash is null or v_policy ->> 'registration' is distinct from 'open' then
        perform troth.record('link.refused', troth.context_tenant(), null, p_domain, p_request);
        return null;
    end if;
    insert into troth.person (id, tenant_id, email_index, profile, password_hash, roles, email_verified_at)
    values (p_id, v_link.tenant_id, v_link.email_index, p_profile, p_password_hash,
            coalesce((select array_agg(r) from jsonb_array_elements_text(v_policy -> 'joining_roles') r), '{}'), now())
    on conflict (tenant_id, email_index) do nothing;
    if not found then
        return null;
    end if;
    perform troth.record('person.registered', v_link.tenant_id, p_id, p_domain, p_request);
    return p_id;
end $$;

-- Confirms an address, or puts the new one in place of the old, which is told. Null when the link is good for
-- nothing, or somebody else has the address by now.
create function troth.confirm_email(p_domain text, p_hash bytea, p_language text, p_request text default null)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_link troth.account_link := troth.use_link(p_domain, p_hash, array['verification', 'email_change']);
    v_old troth.person;
begin
    select * into v_old from troth.person
    where id = v_link.person_id and not disabled
        and (v_link.kind = 'email_change' or email_index = v_link.email_index) for update;
    if not found or v_link.kind = 'email_change' and exists (
        select from troth.person where tenant_id = v_link.tenant_id and email_index = v_link.email_index) then
        perform troth.record('link.refused', troth.context_tenant(), null, p_domain, p_request);
        return null;
    end if;
    if v_link.kind = 'verification' then
        update troth.person set email_verified_at = now() where id = v_old.id;
        perform troth.record('email.verified', v_link.tenant_id, v_old.id, p_domain, p_request);
        return v_old.id;
    end if;
    begin
        update troth.person
        set email_index = v_link.email_index, profile = v_link.payload, email_verified_at = now()
        where id = v_old.id;
    exception when unique_violation then -- somebody took the address at this very moment
        return null;
    end;
    -- A link that was sent to the old address must not open the account any more.
    update troth.account_link set used_at = now() where person_id = v_old.id and used_at is null;
    perform troth.record('email.changed', v_link.tenant_id, v_old.id, p_domain, p_request);
    perform troth.notify_person('email_changed', v_link.tenant_id, v_old.id, v_old.profile, p_domain, p_language);
    return v_old.id;
end $$;

-- Tells a person what happened to their account; without a language nobody sends messages here. `p_profile` is
-- whom to tell when the account has another address by now.
create function troth.notify_person(
    p_kind text, p_tenant uuid, p_person uuid, p_profile bytea, p_domain text, p_language text
) returns void
language plpgsql as $$
begin
    if p_language is not null then
        insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id, payload)
        values (gen_random_uuid(), p_tenant, p_domain, p_kind, p_language, p_person, p_profile);
    end if;
end $$;

-- Who may call what ------------------------------------------------------------------------------------------
revoke execute on function
    troth.attempt_wait(text, integer),
    troth.charge(uuid, text[], bytea[]),
    troth.try_sign_in(text, bytea, bytea, bytea, bytea),
    troth.neighbours_hash(uuid, bytea),
    troth.sign_in_fitted(text, bytea, bytea, bytea, bytea, interval),
    troth.sweep_attempts(uuid),
    troth.order_mail(text, uuid, text, text, uuid, bytea, bytea, bytea, text),
    troth.take_mail(integer, interval),
    troth.finish_mail(uuid, text),
    troth.postpone_mail(uuid, text, interval),
    troth.make_link(uuid, text, text, uuid, bytea, bytea, bytea, interval),
    troth.find_link(text, bytea),
    troth.use_link(text, bytea, text[]),
    troth.reset_password(text, bytea, text, text, text),
    troth.change_password(text, bytea, text, text, text, text),
    troth.register_person(text, bytea, uuid, bytea, text, text),
    troth.confirm_email(text, bytea, text, text),
    troth.notify_person(text, uuid, uuid, bytea, text, text)
from public;
grant execute on function
    troth.attempt_wait(text, integer),
    troth.charge(uuid, text[], bytea[]),
    troth.try_sign_in(text, bytea, bytea, bytea, bytea),
    troth.neighbours_hash(uuid, bytea),
    troth.sign_in_fitted(text, bytea, bytea, bytea, bytea, interval),
    troth.sweep_attempts(uuid),
    troth.order_mail(text, uuid, text, text, uuid, bytea, bytea, bytea, text),
    troth.find_link(text, bytea),
    troth.reset_password(text, bytea, text, text, text),
    troth.change_password(text, bytea, text, text, text, text),
    troth.register_person(text, bytea, uuid, bytea, text, text),
    troth.confirm_email(text, bytea, text, text)
to troth_app;
