-- Canary rows: what the keeper writes about once a second and keeps a signed receipt of outside the database.
--
-- The last few thousand stay. No web instance may touch them: whoever could delete one would make an
-- acknowledged write look lost.

create table troth.canary_row (
    number bigint primary key check (number > 0),
    id uuid not null,
    tenant_id uuid not null references troth.tenant,
    at timestamptz not null default clock_timestamp(),
    sealed bytea not null check (substring(sealed from 1 for 2) = 'TR' and octet_length(sealed) >= 48)
);

alter table troth.canary_row enable row level security;
alter table troth.canary_row force row level security;
create policy keeper on troth.canary_row to troth_owner using (true) with check (true);
create policy auditor on troth.canary_row for select to troth_auditor using (true);
grant select on troth.canary_row to troth_auditor;

-- Writes one row and removes those that have had their time. The timeline is that of the member that commits.
create function troth.write_canary(
    p_number bigint, p_id uuid, p_tenant uuid, p_sealed bytea, p_kept bigint
) returns table (at timestamptz, timeline text)
language plpgsql as $$
declare
    v_at timestamptz;
begin
    insert into troth.canary_row (number, id, tenant_id, sealed)
    values (p_number, p_id, p_tenant, p_sealed)
    returning canary_row.at into v_at;
    delete from troth.canary_row r where r.number <= p_number - p_kept;
    return query select v_at, substring(pg_walfile_name(pg_current_wal_insert_lsn()) from 1 for 8);
end $$;

revoke execute on function troth.write_canary(bigint, uuid, uuid, bytea, bigint) from public;
