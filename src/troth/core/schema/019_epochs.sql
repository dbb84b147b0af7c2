-- Tenant keys are wrapped under epochs, which end (data/epochs.py).
--
-- Nobody may store a key under an epoch that has ended: whoever wrapped it has the epoch's key in memory, goes
-- on to seal under it, and nothing of that ever opens again. The row is locked against the keeper for as long as
-- a key is being stored, so that none slips in between the last look at the table and the end of the epoch.

create table troth.key_epoch (
    single boolean primary key default true check (single),
    oldest bigint not null check (oldest > 0)
);
comment on column troth.key_epoch.oldest is 'the oldest epoch under which a tenant key may be stored';
insert into troth.key_epoch (oldest) values (1);

alter table troth.key_epoch enable row level security;
alter table troth.key_epoch force row level security;
create policy keeper on troth.key_epoch to troth_owner using (true) with check (true);

create policy keeper on troth.tenant_key to troth_owner using (true) with check (true);

create function troth.refuse_ended_epoch() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    -- Bytes 4 to 7 of the envelope (data/sealing.py), big-endian.
    v_epoch bigint := get_byte(new.wrapped, 4)::bigint * 16777216 + get_byte(new.wrapped, 5) * 65536
        + get_byte(new.wrapped, 6) * 256 + get_byte(new.wrapped, 7);
begin
    perform 1 from troth.key_epoch e where e.oldest <= v_epoch for share;
    return case when found then new end;
end $$;

revoke execute on function troth.refuse_ended_epoch() from public;

create trigger refuse_ended_epoch before insert on troth.tenant_key
    for each row execute function troth.refuse_ended_epoch();
