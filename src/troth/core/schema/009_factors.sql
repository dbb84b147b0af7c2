-- What people prove beside a password: authenticator apps, passkeys, recovery codes, and the state of a sign-in
-- between its password and its session.
--
-- Secrets are sealed; what is random enough is kept as a SHA-256. Each use of a factor is consumed by one atomic
-- statement, so that of any number of callers at once one wins. Times are the database's.

alter table troth.tenant add column if not exists policy jsonb not null default '{}';

create table troth.authenticator_app (
    person_id uuid primary key references troth.person on delete cascade,
    tenant_id uuid not null references troth.tenant,
    secret bytea not null,
    last_step bigint not null,
    created_at timestamptz not null default now(),
    used_at timestamptz
);
comment on column troth.authenticator_app.secret is 'sealed';
comment on column troth.authenticator_app.last_step is 'the step of the newest code that was accepted (RFC 6238 section 5.2)';

create table troth.passkey (
    domain text not null references troth.domain on delete cascade,
    credential_id bytea not null check (octet_length(credential_id) <= 1023),
    tenant_id uuid not null references troth.tenant,
    id uuid not null unique,
    person_id uuid not null references troth.person on delete cascade,
    public_key bytea not null,
    sign_count bigint not null,
    backup_eligible boolean not null,
    backed_up boolean not null,
    name text not null check (length(name) between 1 and 60),
    created_at timestamptz not null default now(),
    used_at timestamptz,
    primary key (domain, credential_id)
);
comment on column troth.passkey.domain is 'the relying party: a passkey opens this domain and no other';
create index passkey_person on troth.passkey (person_id);

create table troth.recovery_code (
    code_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    person_id uuid not null references troth.person on delete cascade,
    created_at timestamptz not null default now()
);
create index recovery_code_person on troth.recovery_code (person_id);

-- The password fitted and a second factor is still to come. It opens nothing.
create table troth.pending_sign_in (
    token_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    domain text not null references troth.domain on delete cascade,
    person_id uuid not null references troth.person on delete cascade,
    amr text[] not null,
    device bytea,
    enrols boolean not null,
    tries integer not null default 0,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
comment on column troth.pending_sign_in.device is 'under what tries of a browser that was signed in before are counted';
create index pending_sign_in_expiry on troth.pending_sign_in (tenant_id, expires_at);

-- Challenges that were answered, for as long as they could be answered again.
create table troth.spent_challenge (
    challenge_hash bytea primary key,
    tenant_id uuid not null references troth.tenant,
    expires_at timestamptz not null
);
create index spent_challenge_expiry on troth.spent_challenge (tenant_id, expires_at);

do $$
declare
    name text;
begin
    foreach name in array array['authenticator_app', 'passkey', 'recovery_code', 'pending_sign_in',
                                'spent_challenge']
    loop
        execute format('alter table troth.%I enable row level security', name);
        execute format('alter table troth.%I force row level security', name);
        execute format(
            'create policy own_tenant on troth.%I
                using (tenant_id = (select troth.context_tenant()))
                with check (tenant_id = (select troth.context_tenant()))', name);
    end loop;
end $$;

grant select, insert, update (last_step, used_at), delete on troth.authenticator_app to troth_app;
grant select, insert, update (sign_count, backed_up, used_at, name), delete on troth.passkey to troth_app;
grant select, insert, delete on troth.recovery_code to troth_app;
grant select, insert, update (tries), delete on troth.pending_sign_in to troth_app;
grant select, insert, update (expires_at), delete on troth.spent_challenge to troth_app; -- to lock what it sweeps

-- Who has what ----------------------------------------------------------------------------------------------

create type troth.factors as (
    app boolean,
    passkeys integer,  -- for this domain
    elsewhere integer, -- for other domains of the tenant
    codes integer
);

create function troth.factors_of(p_domain text, p_person uuid) returns troth.factors
language plpgsql stable as $$
begin
    return (
        exists (select from troth.authenticator_app where person_id = p_person),
        (select count(*) from troth.passkey where person_id = p_person and domain = p_domain),
        (select count(*) from troth.passkey where person_id = p_person and domain <> p_domain),
        (select count(*) from troth.recovery_code where person_id = p_person)
    )::troth.factors;
end $$;

-- off | optional | required: whether people are asked to set a factor up. Who has one is asked for it in any case.
create function troth.second_factor_policy(p_tenant uuid) returns text
language plpgsql stable as $$
begin
    return coalesce((select t.policy ->> 'second_factor' from troth.tenant t
                     where t.id = p_tenant), 'optional');
end $$;

create type troth.factor_overview as (
    policy text,
    app_since timestamptz,
    app_used timestamptz,
    passkeys jsonb,
    codes integer
);

-- What the person's own page shows.
create function troth.show_factors(p_domain text, p_person uuid) returns troth.factor_overview
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_out troth.factor_overview;
begin
    v_out.policy := troth.second_factor_policy(v_tenant);
    select a.created_at, a.used_at into v_out.app_since, v_out.app_used
    from troth.authenticator_app a where a.person_id = p_person;
    v_out.passkeys := coalesce(
        (select jsonb_agg(jsonb_build_object(
                    'id', k.id, 'name', k.name, 'domain', k.domain, 'created_at', k.created_at,
                    'used_at', k.used_at, 'credential', encode(k.credential_id, 'hex'),
                    'backed_up', k.backed_up)
                 order by k.created_at)
         from troth.passkey k where k.person_id = p_person), '[]');
    v_out.codes := (select count(*) from troth.recovery_code where person_id = p_person);
    return v_out;
end $$;

-- Between password and session ------------------------------------------------------------------------------

create type troth.pending as (
    outcome text,
    person_id uuid,
    profile bytea,
    amr text[],
    enrols boolean,
    app boolean,
    passkeys integer,
    elsewhere integer,
    codes integer,
    wait integer,
    secret bytea,
    last_step bigint
);

-- After the password fitted. outcome: free (nothing more is asked for and nothing was written) | needed | enrol
-- (the tenant requires a factor and the person has none) | over. A password that was changed while it was being
-- checked begins nothing.
create function troth.begin_pending(
    p_domain text, p_hash bytea, p_person uuid, p_verified text, p_amr text[], p_device bytea,
    p_lifetime interval, p_request text default null
) returns troth.pending
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_factors troth.factors := troth.factors_of(p_domain, p_person);
    v_out troth.pending;
begin
    v_out.app := v_factors.app;
    v_out.passkeys := v_factors.passkeys;
    v_out.elsewhere := v_factors.elsewhere;
    v_out.codes := v_factors.codes;
    v_out.enrols := not (v_factors.app or v_factors.passkeys + v_factors.elsewhere > 0);
    v_out.person_id := p_person;
    v_out.amr := p_amr;
    if v_out.enrols and troth.second_factor_policy(v_tenant) <> 'required' then
        v_out.outcome := 'free';
        return v_out;
    end if;
    delete from troth.pending_sign_in
    where token_hash in (select token_hash from troth.pending_sign_in
                         where tenant_id = v_tenant and expires_at < now() limit 16 for update skip locked);
    insert into troth.pending_sign_in (token_hash, tenant_id, domain, person_id, amr, device, enrols, expires_at)
    select p_hash, v_tenant, p_domain, p.id, p_amr, p_device, v_out.enrols, now() + p_lifetime
    from troth.person p
    where p.id = p_person and not p.disabled and p.password_hash is not distinct from p_verified
    for share
    on conflict (token_hash) do nothing;
    if not exists (select from troth.pending_sign_in where token_hash = p_hash) then
        v_out.outcome := 'over';
        return v_out;
    end if;
    perform troth.record('sign_in.half', v_tenant, p_person, p_domain, p_request,
                         jsonb_build_object('amr', p_amr, 'enrols', v_out.enrols));
    v_out.outcome := case when v_out.enrols then 'enrol' else 'needed' end;
    return v_out;
end $$;

-- The pending sign-in that a browser holds. outcome: needed | enrol | over. One that was begun before the
-- person's sessions were ended is over with them.
create function troth.open_pending(p_domain text, p_hash bytea) returns troth.pending
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_factors troth.factors;
    v_out troth.pending;
begin
    select s.person_id, p.profile, s.amr, s.enrols into v_out.person_id, v_out.profile, v_out.amr, v_out.enrols
    from troth.pending_sign_in s
    join troth.person p on p.id = s.person_id
    join troth.tenant t on t.id = s.tenant_id
    where s.token_hash = p_hash and s.domain = p_domain and s.expires_at > now()
      and s.created_at >= p.sessions_from and not p.disabled and t.active;
    if not found then
        v_out.outcome := 'over';
        return v_out;
    end if;
    v_factors := troth.factors_of(p_domain, v_out.person_id);
    v_out.app := v_factors.app;
    v_out.passkeys := v_factors.passkeys;
    v_out.elsewhere := v_factors.elsewhere;
    v_out.codes := v_factors.codes;
    v_out.outcome := case when v_out.enrols then 'enrol' else 'needed' end;
    return v_out;
end $$;

-- As in 008, with the budgets of factors. Who guesses at a factor has the password already.
create or replace function troth.attempt_wait(p_kind text, p_count integer) returns interval
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
                 ('factor', 5, 4, 900),         -- codes of one person, from browsers that nobody knows
                 ('factor_device', 5, 2, 300),  -- codes of one person, from a browser that was signed in before
                 ('mail_account', 3, 300, 3600),
                 ('mail_network', 10, 60, 3600)) as budget (kind, free, first, most)
    where kind = p_kind;
    if p_count < v_free then
        return interval '0';
    end if;
    return make_interval(secs => least(v_most, v_first * 2 ^ least(p_count - v_free, 20)));
end $$;

-- Counts a guess at a code of this person; how many seconds it has to wait instead. A browser that was signed in
-- before has a budget of its own, so that a guesser elsewhere does not keep the person out.
create function troth.charge_factor(p_tenant uuid, p_person uuid, p_device bytea) returns integer
language plpgsql as $$
begin
    return troth.charge(
        p_tenant,
        array[case when p_device is null then 'factor' else 'factor_device' end],
        array[sha256(uuid_send(p_person) || coalesce(p_device, ''))]);
end $$;

-- Counts a guess before it is looked at, and hands over what it is checked against. outcome as open_pending's, or
-- spent (too many guesses: the password is asked for again) or wait.
create function troth.try_pending(p_domain text, p_hash bytea, p_most integer, p_request text default null)
returns troth.pending
language plpgsql as $$
declare
    v_out troth.pending := troth.open_pending(p_domain, p_hash);
    v_tenant uuid := troth.context_tenant();
    v_tries integer;
    v_device bytea;
begin
    if v_out.outcome = 'over' then
        return v_out;
    end if;
    select device into v_device from troth.pending_sign_in where token_hash = p_hash for update;
    v_out.wait := troth.charge_factor(v_tenant, v_out.person_id, v_device);
    if v_out.wait > 0 then
        v_out.outcome := 'wait';
        return v_out;
    end if;
    update troth.pending_sign_in set tries = tries + 1 where token_hash = p_hash returning tries into v_tries;
    if v_tries > p_most then
        delete from troth.pending_sign_in where token_hash = p_hash;
        perform troth.record('sign_in.failed', v_tenant, v_out.person_id, p_domain, p_request,
                             jsonb_build_object('reason', 'second factor guessed at'));
        v_out.outcome := 'spent';
        return v_out;
    end if;
    select a.secret, a.last_step into v_out.secret, v_out.last_step
    from troth.authenticator_app a where a.person_id = v_out.person_id;
    return v_out;
end $$;

-- Takes a pending sign-in: of any number of callers at once, one gets it. The answer is the hash that the
-- session is to be begun with, so that a password changed at this very moment begins none.
create function troth.take_pending(p_domain text, p_hash bytea)
returns table (person_id uuid, amr text[], verified text)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        delete from troth.pending_sign_in s using troth.person p
        where s.token_hash = p_hash and s.domain = p_domain and s.expires_at > now() and p.id = s.person_id
          and s.created_at >= p.sessions_from and not p.disabled
        returning s.person_id, s.amr, p.password_hash;
end $$;

create function troth.record_failed_factor(p_domain text, p_person uuid, p_request text, p_way text)
returns void
language plpgsql as $$
begin
    perform troth.record('factor.failed', troth.enter_domain(p_domain), p_person, p_domain, p_request,
                         jsonb_build_object('way', p_way));
end $$;

-- Counts a guess in a living session, and hands over what it is checked against.
create function troth.try_factor(p_domain text, p_person uuid, p_device bytea)
returns table (wait integer, secret bytea, last_step bigint)
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_wait integer := troth.charge_factor(v_tenant, p_person, p_device);
begin
    return query
        select v_wait, a.secret, a.last_step
        from (select) one left join troth.authenticator_app a on a.person_id = p_person;
end $$;

-- Authenticator apps ----------------------------------------------------------------------------------------

-- The code of this step is used up, and every earlier one with it.
create function troth.use_code(p_domain text, p_person uuid, p_step bigint) returns boolean
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    update troth.authenticator_app set last_step = p_step, used_at = now()
    where person_id = p_person and last_step < p_step;
    return found;
end $$;

-- False when the person has an app already.
create function troth.add_app(
    p_domain text, p_person uuid, p_secret bytea, p_step bigint, p_request text default null
) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    insert into troth.authenticator_app (person_id, tenant_id, secret, last_step, used_at)
    values (p_person, v_tenant, p_secret, p_step, now())
    on conflict (person_id) do nothing;
    if found then
        perform troth.record('factor.added', v_tenant, p_person, p_domain, p_request, '{"factor": "app"}');
    end if;
    return found;
end $$;

-- Passkeys --------------------------------------------------------------------------------------------------

create function troth.add_passkey(
    p_domain text, p_person uuid, p_id uuid, p_credential bytea, p_public_key bytea, p_sign_count bigint,
    p_backup_eligible boolean, p_backed_up boolean, p_name text, p_challenge bytea, p_expires timestamptz,
    p_most integer, p_request text default null
) returns text
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if not troth.spend_challenge(v_tenant, p_challenge, p_expires) then
        return 'replayed';
    end if;
    perform from troth.person where id = p_person for share;
    if (select count(*) from troth.passkey where person_id = p_person) >= p_most then
        return 'full';
    end if;
    insert into troth.passkey (domain, credential_id, tenant_id, id, person_id, public_key, sign_count,
                               backup_eligible, backed_up, name)
    values (p_domain, p_credential, v_tenant, p_id, p_person, p_public_key, p_sign_count, p_backup_eligible,
            p_backed_up, p_name)
    on conflict do nothing;
    if not found then
        return 'taken';
    end if;
    perform troth.record('factor.added', v_tenant, p_person, p_domain, p_request,
                         jsonb_build_object('factor', 'passkey', 'passkey', p_id));
    return 'added';
end $$;

-- False when it was answered before.
create function troth.spend_challenge(p_tenant uuid, p_challenge bytea, p_expires timestamptz) returns boolean
language plpgsql as $$
begin
    delete from troth.spent_challenge
    where challenge_hash in (select challenge_hash from troth.spent_challenge
                             where tenant_id = p_tenant and expires_at < now() limit 16
                             for update skip locked);
    insert into troth.spent_challenge (challenge_hash, tenant_id, expires_at)
    values (p_challenge, p_tenant, p_expires)
    on conflict do nothing;
    return found;
end $$;

create function troth.find_passkey(p_domain text, p_credential bytea)
returns table (id uuid, person_id uuid, public_key bytea, sign_count bigint, backup_eligible boolean)
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return query
        select k.id, k.person_id, k.public_key, k.sign_count, k.backup_eligible
        from troth.passkey k where k.domain = p_domain and k.credential_id = p_credential;
end $$;

-- An answer that was verified. False when its challenge was answered before, or another answer of this passkey
-- was accepted in the meantime (two holders of one key).
create function troth.use_passkey(
    p_domain text, p_id uuid, p_old_count bigint, p_new_count bigint, p_backed_up boolean, p_challenge bytea,
    p_expires timestamptz
) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if not troth.spend_challenge(v_tenant, p_challenge, p_expires) then
        return false;
    end if;
    update troth.passkey set sign_count = p_new_count, backed_up = p_backed_up, used_at = now()
    where id = p_id and domain = p_domain and sign_count = p_old_count;
    return found;
end $$;

create function troth.rename_passkey(p_domain text, p_person uuid, p_id uuid, p_name text) returns boolean
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    update troth.passkey set name = p_name where id = p_id and person_id = p_person;
    return found;
end $$;

-- Removes an app (p_passkey is null) or a passkey. outcome: removed | unknown | last (the tenant requires a
-- factor). The codes go with the last factor: they stand in for it and for nothing else.
create function troth.remove_factor(
    p_domain text, p_person uuid, p_passkey uuid, p_request text default null
) returns text
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_left integer;
begin
    -- One removal at a time: two at once must not each take the other for what is left.
    perform pg_advisory_xact_lock(hashtextextended(p_person::text, 9));
    v_left := (select count(*) from troth.passkey where person_id = p_person and id is distinct from p_passkey)
        + (select count(*) from troth.authenticator_app where person_id = p_person and p_passkey is not null);
    if v_left = 0 and troth.second_factor_policy(v_tenant) = 'required' then
        return 'last';
    end if;
    if p_passkey is null then
        delete from troth.authenticator_app where person_id = p_person;
    else
        delete from troth.passkey where person_id = p_person and id = p_passkey;
    end if;
    if not found then
        return 'unknown';
    end if;
    if v_left = 0 then
        delete from troth.recovery_code where person_id = p_person;
    end if;
    perform troth.record('factor.removed', v_tenant, p_person, p_domain, p_request,
                         jsonb_build_object('factor', case when p_passkey is null then 'app' else 'passkey' end,
                                            'passkey', p_passkey));
    return 'removed';
end $$;

-- Recovery codes --------------------------------------------------------------------------------------------

-- New codes in place of all that were.
create function troth.set_recovery_codes(
    p_domain text, p_person uuid, p_hashes bytea[], p_request text default null
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    perform pg_advisory_xact_lock(hashtextextended(p_person::text, 9));
    delete from troth.recovery_code where person_id = p_person;
    insert into troth.recovery_code (code_hash, tenant_id, person_id)
    select hash, v_tenant, p_person from unnest(p_hashes) hash;
    perform troth.record('recovery_codes.made', v_tenant, p_person, p_domain, p_request);
end $$;

create function troth.use_recovery_code(
    p_domain text, p_person uuid, p_hash bytea, p_request text default null
) returns boolean
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    delete from troth.recovery_code where code_hash = p_hash and person_id = p_person;
    if found then
        perform troth.record('recovery_code.used', v_tenant, p_person, p_domain, p_request);
        return true;
    end if;
    return false;
end $$;

-- A person lost everything: the operator takes the factors away, and whatever was begun before is over.
create function troth.reset_factors(p_tenant uuid, p_person uuid) returns boolean
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set sessions_from = now() where id = p_person;
    if not found then
        return false;
    end if;
    delete from troth.authenticator_app where person_id = p_person;
    delete from troth.passkey where person_id = p_person;
    delete from troth.recovery_code where person_id = p_person;
    delete from troth.pending_sign_in where person_id = p_person;
    perform troth.record('factors.reset', p_tenant, p_person, null, null);
    return true;
end $$;

revoke execute on all functions in schema troth from public;
revoke execute on function troth.reset_factors(uuid, uuid) from public;
grant execute on function
    troth.factors_of(text, uuid),
    troth.second_factor_policy(uuid),
    troth.show_factors(text, uuid),
    troth.begin_pending(text, bytea, uuid, text, text[], bytea, interval, text),
    troth.open_pending(text, bytea),
    troth.charge_factor(uuid, uuid, bytea),
    troth.try_pending(text, bytea, integer, text),
    troth.take_pending(text, bytea),
    troth.record_failed_factor(text, uuid, text, text),
    troth.try_factor(text, uuid, bytea),
    troth.use_code(text, uuid, bigint),
    troth.add_app(text, uuid, bytea, bigint, text),
    troth.add_passkey(text, uuid, uuid, bytea, bytea, bigint, boolean, boolean, text, bytea, timestamptz, integer,
                      text),
    troth.spend_challenge(uuid, bytea, timestamptz),
    troth.find_passkey(text, bytea),
    troth.use_passkey(text, uuid, bigint, bigint, boolean, bytea, timestamptz),
    troth.rename_passkey(text, uuid, uuid, text),
    troth.remove_factor(text, uuid, uuid, text),
    troth.set_recovery_codes(text, uuid, bytea[], text),
    troth.use_recovery_code(text, uuid, bytea, text)
    to troth_app;
