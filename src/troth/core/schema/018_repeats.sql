-- What may be asked twice. A call whose connection broke may have been carried out; the pool repeats it on the
-- next leader if it reads, or says that doing it twice leaves the same and answers the same (core/db.py).

-- Reading ---------------------------------------------------------------------------------------------------
--
-- Declared, so that the pool, and a test, can tell them from those that write. PostgreSQL refuses to write from
-- within such a function. What it sees is as of the moment of the call; none of these waits for a lock. Setting
-- the context of row-level security, for the transaction alone, is no side effect that could be left behind.
alter function troth.admin_challenge(text, uuid, text, text) stable;
alter function troth.admin_client(text, uuid, text, text) stable;
alter function troth.admin_clients(text, uuid, text, text, integer) stable;
alter function troth.admin_domain(text, uuid, text, text) stable;
alter function troth.admin_domains(text, uuid, text, text, integer) stable;
alter function troth.admin_events(text, uuid, text, timestamptz, uuid, integer) stable;
alter function troth.admin_roles(text, uuid, text) stable;
alter function troth.admin_sessions(text, uuid, text, uuid, integer) stable;
alter function troth.admin_settings(text, uuid, text) stable;
alter function troth.admin_user(text, uuid, text, uuid) stable;
alter function troth.admin_users(text, uuid, text, uuid, integer) stable;
alter function troth.consented(text, uuid, text) stable;
alter function troth.document_list(uuid, uuid, uuid, text, text, uuid, boolean, integer) stable;
alter function troth.document_read(uuid, uuid, uuid, text, text, uuid, text) stable;
alter function troth.documents_read(uuid[], uuid[], uuid[], text[], text[], uuid[], text[]) stable;
alter function troth.find_client(text, text) stable;
alter function troth.find_link(text, bytea) stable;
alter function troth.find_passkey(text, bytea) stable;
alter function troth.find_person(text, bytea) stable;
alter function troth.invited_scopes(text, bytea) stable;
alter function troth.known_people(uuid, bytea[]) stable;
alter function troth.open_pending(text, bytea) stable;
alter function troth.open_session_by_id(text, uuid) stable;
alter function troth.people(uuid, uuid, integer) stable;
alter function troth.person_of(uuid, uuid, bytea) stable;
alter function troth.refresh_alive(text, uuid, integer, bytea, text) stable;
alter function troth.roles_of(uuid) stable;
alter function troth.session_above(text, uuid) stable;
alter function troth.show_factors(text, uuid) stable;
alter function troth.signing_keys(text, interval) stable;
alter function troth.tenant_keys(uuid) stable;
alter function troth.unknown_roles(uuid, text[]) stable;

-- The trail -------------------------------------------------------------------------------------------------

-- What happened, under an id that its caller made: repeated, it stands there once. True the first time.
create function troth.record_once(
    p_id uuid, p_event text, p_tenant uuid, p_principal uuid, p_domain text, p_request text,
    p_detail jsonb default '{}'
) returns boolean
language plpgsql as $$
begin
    insert into troth.audit_event (id, tenant_id, event, principal, domain, request_id, detail)
    values (p_id, p_tenant, p_event, p_principal, p_domain, p_request, p_detail)
    on conflict do nothing;
    return found;
end $$;

-- That something was refused, or failed, on a domain.
create function troth.record_failure(
    p_id uuid, p_event text, p_domain text, p_principal uuid, p_request text, p_detail jsonb
) returns void
language plpgsql as $$
begin
    perform troth.record_once(p_id, p_event, troth.enter_domain(p_domain), p_principal, p_domain, p_request,
                              p_detail);
end $$;
drop function troth.record_failed_sign_in(text, uuid, text, text);
drop function troth.record_failed_factor(text, uuid, text, text);
drop function troth.record_client_refused(text, text, text, text);
drop function troth.record_admin_refused(text, uuid, text, text, text);
drop function troth.record_refusal(text, text, text, text, text);

-- Accounts --------------------------------------------------------------------------------------------------

-- As in 015, under an id that its caller made.
drop function troth.tell_person(text, uuid, text, text);
create function troth.tell_person(p_domain text, p_person uuid, p_kind text, p_language text, p_id uuid)
returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id)
    select p_id, v_tenant, p_domain, p_kind, p_language, p.id
    from troth.person p where p.id = p_person
    on conflict (id) do nothing;
end $$;

-- As in 002. A hash has a salt of its own: one that stands there already was put there by this very call, and
-- sessions that were begun with it since go on.
create or replace function troth.set_password(p_tenant uuid, p_person uuid, p_password_hash text) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set password_hash = p_password_hash, sessions_from = now()
    where id = p_person and password_hash is distinct from p_password_hash;
    if found then
        perform troth.record('password.changed', p_tenant, p_person, null, null);
    end if;
end $$;

-- As in 002; whoever is as they should be stays so.
create or replace function troth.set_disabled(p_tenant uuid, p_person uuid, p_disabled boolean) returns void
language plpgsql as $$
begin
    perform set_config('troth.tenant', p_tenant::text, true);
    update troth.person set disabled = p_disabled, sessions_from = now()
    where id = p_person and disabled <> p_disabled;
    if found then
        perform troth.record(case when p_disabled then 'person.disabled' else 'person.enabled' end,
                             p_tenant, p_person, null, null);
    end if;
end $$;

-- Factors ---------------------------------------------------------------------------------------------------

-- As in 009; recorded once.
create or replace function troth.begin_pending(
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
    if found then
        perform troth.record('sign_in.half', v_tenant, p_person, p_domain, p_request,
                             jsonb_build_object('amr', p_amr, 'enrols', v_out.enrols));
    elsif not exists (select from troth.pending_sign_in where token_hash = p_hash) then
        v_out.outcome := 'over';
        return v_out;
    end if;
    v_out.outcome := case when v_out.enrols then 'enrol' else 'needed' end;
    return v_out;
end $$;

-- As in 009: false when the person has another app already. The secret is sealed with a nonce, so bytes that
-- stand there are this call's own.
create or replace function troth.add_app(
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
        return true;
    end if;
    return exists (select from troth.authenticator_app where person_id = p_person and secret = p_secret);
end $$;

-- As in 009; the id is the caller's, and a passkey that has it was added by this very call.
create or replace function troth.add_passkey(
    p_domain text, p_person uuid, p_id uuid, p_credential bytea, p_public_key bytea, p_sign_count bigint,
    p_backup_eligible boolean, p_backed_up boolean, p_name text, p_challenge bytea, p_expires timestamptz,
    p_most integer, p_request text default null
) returns text
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if exists (select from troth.passkey
               where id = p_id and person_id = p_person and domain = p_domain and credential_id = p_credential) then
        return 'added';
    end if;
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

-- As in 009; if all of these stand there, this very call has put them there.
create or replace function troth.set_recovery_codes(
    p_domain text, p_person uuid, p_hashes bytea[], p_request text default null
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    perform pg_advisory_xact_lock(hashtextextended(p_person::text, 9));
    if cardinality(p_hashes) > 0 and not exists (
        select unnest(p_hashes)
        except select c.code_hash from troth.recovery_code c where c.person_id = p_person
    ) then
        return;
    end if;
    delete from troth.recovery_code where person_id = p_person;
    insert into troth.recovery_code (code_hash, tenant_id, person_id)
    select hash, v_tenant, p_person from unnest(p_hashes) hash;
    perform troth.record('recovery_codes.made', v_tenant, p_person, p_domain, p_request);
end $$;

-- Clients ---------------------------------------------------------------------------------------------------

-- As in 005; the new token is the caller's, and a client that has it was replaced by this very call.
create or replace function troth.replace_client(
    p_domain text, p_client text, p_token bytea, p_name text, p_redirect_uris text[], p_scopes text[],
    p_registration jsonb, p_secret bytea, p_with_secret boolean, p_management bytea, p_request text
) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_old text[];
begin
    if not troth.manages_client(p_domain, p_client, p_token) then
        return false;
    end if;
    if exists (select from troth.client_registration r
               where r.client_id = p_client and r.token_hash = p_management and r.previous_hash = p_token) then
        return true;
    end if;
    select c.scopes into v_old from troth.client c where c.id = p_client for update;
    update troth.client
    set name = p_name, redirect_uris = p_redirect_uris, scopes = p_scopes, registration = p_registration
    where id = p_client;
    update troth.client_registration set token_hash = p_management, previous_hash = p_token
    where client_id = p_client;
    if not p_with_secret then
        delete from troth.client_secret where client_id = p_client;
    elsif p_secret is not null then
        insert into troth.client_secret (tenant_id, client_id, secret_hash)
        values (troth.context_tenant(), p_client, p_secret) on conflict do nothing;
    end if;
    if not v_old <@ p_scopes then
        perform troth.end_client_grants(p_client, 'client narrowed');
    end if;
    perform troth.record('client.replaced', troth.context_tenant(), null, p_domain, p_request,
                         jsonb_build_object('client', p_client, 'name', p_name));
    return true;
end $$;

-- As in 002; recorded once, under an id that its caller made.
drop function troth.remember_consent(text, uuid, text, text[], text);
create function troth.remember_consent(
    p_domain text, p_session uuid, p_client text, p_scopes text[], p_request text, p_id uuid
) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_person uuid := (select person_id from troth.session where id = p_session and domain = p_domain);
begin
    insert into troth.consent (tenant_id, session_id, client_id, scopes)
    values (v_tenant, p_session, p_client, p_scopes)
    on conflict (session_id, client_id) do update set scopes = excluded.scopes;
    perform troth.record_once(p_id, 'consent.given', v_tenant, v_person, p_domain, p_request,
                              jsonb_build_object('client', p_client, 'scopes', p_scopes));
end $$;

-- As in 011; what was told is told, and recorded once.
create or replace function troth.settle_logout_notice(p_grant uuid, p_outcome text, p_again interval)
returns void
language plpgsql as $$
declare
    v_notice troth.logout_notice;
begin
    update troth.logout_notice
    set outcome = p_outcome,
        done_at = case when p_again is null then now() end,
        due_at = coalesce(now() + p_again, due_at)
    where grant_id = p_grant and done_at is null
    returning * into v_notice;
    if found and p_again is null then
        perform troth.record('logout.told', v_notice.tenant_id, v_notice.person_id, v_notice.domain, null,
                             jsonb_build_object('client', v_notice.client_id, 'session', p_grant,
                                                'outcome', p_outcome, 'attempts', v_notice.attempts));
    end if;
end $$;

-- Tokens ----------------------------------------------------------------------------------------------------
--
-- A refusal stands in the trail under the id that the grant would have had.

drop function troth.refuse_code(uuid, text, bytea, text, text);
create function troth.refuse_code(
    p_tenant uuid, p_domain text, p_hash bytea, p_client text, p_grant uuid, p_request text
) returns troth.grant_told
language plpgsql as $$
declare
    v_code troth.authorization_code;
    v_out troth.grant_told;
begin
    select * into v_code from troth.authorization_code
    where code_hash = p_hash and domain = p_domain and client_id = p_client;
    if not found then
        v_out.outcome := 'unknown';
        return v_out;
    end if;
    perform troth.end_session_tree(v_code.grant_id, 'code replayed');
    perform troth.record_once(p_grant, 'code.replayed', p_tenant, null, p_domain, p_request,
                              jsonb_build_object('client', p_client, 'session', v_code.grant_id));
    v_out.outcome := 'replayed';
    return v_out;
end $$;

create or replace function troth.redeem_code(
    p_domain text, p_hash bytea, p_client text, p_redirect_uri text, p_challenge text, p_grant uuid,
    p_secret bytea, p_jkt text, p_confirmation jsonb, p_request text default null
) returns troth.grant_told
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_code troth.authorization_code;
    v_out troth.grant_told;
begin
    update troth.authorization_code set redeemed_at = now(), grant_id = p_grant
    where code_hash = p_hash and domain = p_domain and client_id = p_client
      and (redeemed_at is null or grant_id = p_grant)
    returning * into v_code;
    if not found then
        return troth.refuse_code(v_tenant, p_domain, p_hash, p_client, p_grant, p_request);
    end if;
    if v_code.expires_at <= now() then
        v_out.outcome := 'expired';
    elsif v_code.redirect_uri <> coalesce(p_redirect_uri, v_code.redirect_uri)
          or v_code.challenge <> p_challenge
          or (v_code.jkt is not null and v_code.jkt is distinct from p_jkt) then
        v_out.outcome := 'mismatch';
    elsif not troth.session_alive(v_code.session_id) then
        v_out.outcome := 'over';
    end if;
    if v_out.outcome is not null then
        perform troth.record_once(p_grant, 'code.refused', v_tenant,
                                  (select person_id from troth.session where id = v_code.session_id), p_domain,
                                  p_request, jsonb_build_object('client', p_client, 'reason', v_out.outcome));
        return v_out;
    end if;
    v_out := troth.begin_grant(p_domain, p_grant, v_code.session_id, p_client, v_code.scopes, v_code.details,
                               p_secret, p_confirmation, p_request);
    v_out.nonce := v_code.nonce;
    return v_out;
end $$;

-- Which call rotated a family last: repeated it is told so, however long the next leader took to be found. By
-- the clock alone it would look like a thief's.
alter table troth.refresh_family add column rotated_by uuid;
grant update (rotated_by) on troth.refresh_family to troth_app;

drop function troth.unrenewed(uuid, text, uuid, integer, bytea, text, jsonb, interval, text);
create function troth.unrenewed(
    p_tenant uuid, p_domain text, p_session uuid, p_generation integer, p_secret bytea, p_client text,
    p_confirmation jsonb, p_window interval, p_request text, p_call uuid
) returns text
language plpgsql as $$
declare
    v_family troth.refresh_family;
    v_session troth.session;
    v_outcome text;
begin
    select * into v_session from troth.session where id = p_session;
    select * into v_family from troth.refresh_family where session_id = p_session;
    v_outcome := case
        when v_family.session_id is null or v_session.domain <> p_domain or v_session.client_id <> p_client
             or v_family.secret_hash <> p_secret or p_generation > v_family.generation then 'foreign'
        when not troth.session_alive(p_session) then 'over'
        when v_family.confirmation is distinct from p_confirmation then 'unbound'
        when p_generation = v_family.generation - 1 and v_family.rotated_by = p_call then 'renewed'
        when v_family.rotated_at + v_family.idle <= now() then 'idle'
        when p_generation = v_family.generation - 1 and v_family.rotated_at > now() - p_window then 'repeated'
        else 'replayed' end;
    if v_outcome = 'renewed' then
        return v_outcome;
    elsif v_outcome = 'replayed' then
        perform troth.end_session_tree(p_session, 'refresh token replayed');
    end if;
    perform troth.record_once(p_call, 'refresh.' || v_outcome, p_tenant, v_session.person_id, p_domain, p_request,
                              jsonb_build_object('client', p_client, 'session', p_session));
    return v_outcome;
end $$;

drop function troth.renew_grant(text, uuid, integer, bytea, text, jsonb, interval, text);
create function troth.renew_grant(
    p_domain text, p_session uuid, p_generation integer, p_secret bytea, p_client text, p_confirmation jsonb,
    p_window interval, p_request text, p_call uuid
) returns troth.grant_told
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_out troth.grant_told;
begin
    update troth.refresh_family f set generation = f.generation + 1, rotated_at = now(), rotated_by = p_call
    where f.session_id = p_session and f.generation = p_generation and f.secret_hash = p_secret
      and f.confirmation is not distinct from p_confirmation and f.rotated_at + f.idle > now()
      and exists (select from troth.session s
                  where s.id = p_session and s.client_id = p_client and s.domain = p_domain)
      and troth.session_alive(p_session);
    v_out.outcome := case when found then 'renewed'
                     else troth.unrenewed(v_tenant, p_domain, p_session, p_generation, p_secret, p_client,
                                          p_confirmation, p_window, p_request, p_call) end;
    if v_out.outcome not in ('renewed', 'repeated') then
        return v_out;
    end if;
    select v_out.outcome, s.id, p.id, s.scopes, troth.scopes_of(p.roles), null, s.authenticated_at, s.amr,
           s.details, p_generation + 1
    into v_out
    from troth.session s join troth.person p on p.id = s.person_id
    where s.id = p_session;
    return v_out;
end $$;

-- Devices ---------------------------------------------------------------------------------------------------

-- The poll that was answered last, by the id of the grant that it would have begun, and how.
alter table troth.device_request add column polled_by uuid, add column polled_answer text;
grant update (polled_by, polled_answer) on troth.device_request to troth_app;

-- As in 006; one that has begun is not counted against itself.
create or replace function troth.begin_device(
    p_domain text, p_hash bytea, p_index bytea, p_client text, p_scopes text[], p_details jsonb,
    p_lifetime interval, p_poll integer, p_most integer
) returns text
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    if exists (select from troth.device_request where device_hash = p_hash) then
        return 'begun';
    end if;
    delete from troth.device_request
    where device_hash in (select device_hash from troth.device_request
                          where expires_at < now() - interval '1 hour' limit 16 for update skip locked);
    if (select count(*) from (select from troth.device_request
                              where client_id = p_client and expires_at > now() limit p_most) open) >= p_most
                              then
        return 'full';
    end if;
    insert into troth.device_request (device_hash, tenant_id, domain, client_id, user_code_index, scopes,
                                      details, expires_at, poll_seconds)
    values (p_hash, v_tenant, p_domain, p_client, p_index, p_scopes, p_details, now() + p_lifetime, p_poll)
    on conflict do nothing;
    return case when exists (select from troth.device_request where device_hash = p_hash)
           then 'begun' else 'taken' end;
end $$;

-- As in 006; a poll that is repeated is not one that comes too soon.
create or replace function troth.poll_device(
    p_domain text, p_hash bytea, p_client text, p_grant uuid, p_secret bytea, p_confirmation jsonb,
    p_request text default null
) returns troth.grant_told
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
    v_row troth.device_request;
    v_out troth.grant_told;
begin
    select * into v_row from troth.device_request
    where device_hash = p_hash and domain = p_domain and client_id = p_client for update;
    v_out.outcome := case
        when not found then 'unknown'
        when v_row.grant_id = p_grant then null
        when v_row.grant_id is not null then 'replayed'
        when v_row.polled_by = p_grant then v_row.polled_answer
        when v_row.expires_at <= now() then 'expired'
        when v_row.decided_at is null and v_row.polled_at + v_row.poll_seconds * interval '1 second' > now()
            then 'slow_down'
        when v_row.decided_at is null then 'pending'
        when v_row.granted_scopes is null then 'denied'
        when not troth.session_alive(v_row.session_id) then 'over'
        else null end;
    if v_out.outcome in ('pending', 'slow_down') and v_row.polled_by is distinct from p_grant then
        -- RFC 8628 section 3.5: five seconds more for whoever asks too soon.
        update troth.device_request
        set polled_at = now(), polled_by = p_grant, polled_answer = v_out.outcome,
            poll_seconds = least(poll_seconds + case v_out.outcome when 'slow_down' then 5 else 0 end, 60)
        where device_hash = p_hash;
    elsif v_out.outcome = 'replayed' then
        perform troth.end_session_tree(v_row.grant_id, 'device code replayed');
        perform troth.record_once(p_grant, 'device.replayed', v_tenant, null, p_domain, p_request,
                                  jsonb_build_object('client', p_client, 'session', v_row.grant_id));
    end if;
    if v_out.outcome is not null then
        return v_out;
    end if;
    update troth.device_request set grant_id = p_grant where device_hash = p_hash;
    return troth.begin_grant(p_domain, p_grant, v_row.session_id, p_client, v_row.granted_scopes,
                             v_row.details, p_secret, p_confirmation, p_request);
end $$;

revoke execute on function
    troth.record_once(uuid, text, uuid, uuid, text, text, jsonb),
    troth.record_failure(uuid, text, text, uuid, text, jsonb),
    troth.tell_person(text, uuid, text, text, uuid),
    troth.remember_consent(text, uuid, text, text[], text, uuid),
    troth.refuse_code(uuid, text, bytea, text, uuid, text),
    troth.unrenewed(uuid, text, uuid, integer, bytea, text, jsonb, interval, text, uuid),
    troth.renew_grant(text, uuid, integer, bytea, text, jsonb, interval, text, uuid)
from public;
grant execute on function
    troth.record_once(uuid, text, uuid, uuid, text, text, jsonb),
    troth.record_failure(uuid, text, text, uuid, text, jsonb),
    troth.tell_person(text, uuid, text, text, uuid),
    troth.remember_consent(text, uuid, text, text[], text, uuid),
    troth.refuse_code(uuid, text, bytea, text, uuid, text),
    troth.unrenewed(uuid, text, uuid, integer, bytea, text, jsonb, interval, text, uuid),
    troth.renew_grant(text, uuid, integer, bytea, text, jsonb, interval, text, uuid)
to troth_app;
