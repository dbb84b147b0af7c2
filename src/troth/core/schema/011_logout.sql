-- Telling clients that what they were granted is over (OpenID Connect Back-Channel Logout 1.0).
--
-- A notice is written in the transaction that ends a grant, by the same function that tells the instances: so
-- none is forgotten, and none is sent of an end that did not come about. A grant that merely runs out is told
-- of by nobody; its client knows the time.
create table troth.logout_notice (
    grant_id uuid primary key,
    tenant_id uuid not null references troth.tenant on delete cascade,
    domain text not null references troth.domain on delete cascade,
    client_id text not null,
    person_id uuid not null,
    destination text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    attempts integer not null default 0,
    due_at timestamptz not null default now(),
    done_at timestamptz,
    outcome text
);
comment on column troth.logout_notice.expires_at is 'when the grant would have run out: kept until then, so '
    'that a grant which ended for two reasons is told of once';
create index logout_notice_due on troth.logout_notice (due_at) where done_at is null;
create index logout_notice_expiry on troth.logout_notice (expires_at);

alter table troth.logout_notice enable row level security;
alter table troth.logout_notice force row level security;
create policy own_tenant on troth.logout_notice
    using (tenant_id = (select troth.context_tenant()))
    with check (tenant_id = (select troth.context_tenant()));
-- One worker of the operator's delivers for all tenants.
create policy by_the_operator on troth.logout_notice to troth_owner using (true) with check (true);
create policy audited on troth.logout_notice for select to troth_auditor using (true);
-- What `on conflict` looks at; a web instance reads no destination.
grant insert, select (grant_id, tenant_id) on troth.logout_notice to troth_app;
grant select (grant_id, tenant_id, domain, client_id, person_id, created_at, expires_at, attempts, due_at, done_at,
              outcome)
    on troth.logout_notice to troth_auditor;

-- Notices for the grants that end with a session, a person or a tenant. Grants of a client that was disabled
-- end too, but who is not to be trusted any more is told nothing.
create function troth.note_logouts(p_tenant uuid, p_kind text, p_ref text) returns void
language plpgsql as $$
declare
    v_context text := coalesce(current_setting('troth.tenant', true), '');
begin
    if p_tenant is null or p_kind not in ('session', 'person', 'tenant') then
        return;
    end if;
    perform set_config('troth.tenant', p_tenant::text, true);
    insert into troth.logout_notice (grant_id, tenant_id, domain, client_id, person_id, destination, expires_at)
    select s.id, s.tenant_id, s.domain, s.client_id, s.person_id,
           c.registration ->> 'backchannel_logout_uri', s.expires_at
    from troth.session s join troth.client c on c.tenant_id = s.tenant_id and c.id = s.client_id
    where s.parent_id is not null
      and s.expires_at > now()
      and coalesce(c.registration ->> 'backchannel_logout_uri', '') <> ''
      and not c.disabled
      and case p_kind
              when 'session' then s.id = p_ref::uuid
              -- What had ended by itself was told of then.
              when 'person' then s.person_id = p_ref::uuid and s.ended_at is null
              else s.ended_at is null
          end
    on conflict (grant_id) do nothing;
    perform set_config('troth.tenant', v_context, true);
end $$;

create or replace function troth.announce(p_tenant uuid, p_kind text, p_ref text, p_over boolean)
returns void
language plpgsql as $$
begin
    insert into troth.ending (tenant_id, kind, ref, over) values (p_tenant, p_kind, p_ref, p_over);
    perform pg_notify('troth_endings',
                      json_build_object('kind', p_kind, 'ref', p_ref, 'over', p_over)::text);
    if p_over then
        perform troth.note_logouts(p_tenant, p_kind, p_ref);
    end if;
end $$;

-- Takes up to p_most notices that are due, for a time in which no other worker takes them.
create function troth.take_logout_notices(p_most integer, p_lease interval)
returns table (
    grant_id uuid, tenant_id uuid, domain text, client_id text, person_id uuid, destination text, attempts integer
)
language plpgsql as $$
begin
    delete from troth.logout_notice n
    where n.grant_id in (select o.grant_id from troth.logout_notice o
                         where o.expires_at < now() and o.created_at < now() - interval '1 day'
                         limit 64 for update skip locked);
    return query
        update troth.logout_notice n set attempts = n.attempts + 1, due_at = now() + p_lease
        where n.grant_id in (select o.grant_id from troth.logout_notice o
                             where o.done_at is null and o.due_at <= now()
                             order by o.due_at limit p_most for update skip locked)
        returning n.grant_id, n.tenant_id, n.domain, n.client_id, n.person_id, n.destination, n.attempts;
end $$;

create function troth.settle_logout_notice(p_grant uuid, p_outcome text, p_again interval) returns void
language plpgsql as $$
declare
    v_notice troth.logout_notice;
begin
    update troth.logout_notice
    set outcome = p_outcome,
        done_at = case when p_again is null then now() end,
        due_at = coalesce(now() + p_again, due_at)
    where grant_id = p_grant
    returning * into v_notice;
    if found and p_again is null then
        perform troth.record('logout.told', v_notice.tenant_id, v_notice.person_id, v_notice.domain, null,
                             jsonb_build_object('client', v_notice.client_id, 'session', p_grant,
                                                'outcome', p_outcome, 'attempts', v_notice.attempts));
    end if;
end $$;

-- Under which session of a browser a grant was given; null when there is no such grant on this domain.
create function troth.session_above(p_domain text, p_grant uuid) returns uuid
language plpgsql as $$
begin
    perform troth.enter_domain(p_domain);
    return (select s.parent_id from troth.session s where s.id = p_grant and s.domain = p_domain);
end $$;

revoke execute on function
    troth.note_logouts(uuid, text, text),
    troth.take_logout_notices(integer, interval),
    troth.settle_logout_notice(uuid, text, interval),
    troth.session_above(text, uuid)
from public;
grant execute on function
    troth.note_logouts(uuid, text, text),
    troth.session_above(text, uuid)
to troth_app;
