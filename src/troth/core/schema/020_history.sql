-- History of the metrics: one row for each step and instant, with all series of that moment.
--
-- Written by the keeper as the auditor, who may change nothing else, and bounded here: each step keeps its own
-- span and no more. A row that is there already stays as it is.

create table troth.metric_history (
    step smallint not null check (step in (10, 60, 600)),
    at timestamptz not null,
    points jsonb not null check (pg_column_size(points) <= 262144),
    primary key (step, at)
);

alter table troth.metric_history enable row level security;
alter table troth.metric_history force row level security;
create policy keeper on troth.metric_history to troth_owner using (true) with check (true);
create policy auditor on troth.metric_history for select to troth_auditor using (true);
grant select on troth.metric_history to troth_auditor;

create function troth.write_history(p_step smallint, p_at timestamptz, p_points jsonb) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into troth.metric_history (step, at, points) values (p_step, p_at, p_points)
    on conflict do nothing;
    delete from troth.metric_history
    where step = p_step
      and (at > p_at + interval '1 day'
           or at < p_at - case p_step
               when 10 then interval '1 hour'
               when 60 then interval '1 day'
               else interval '14 days' end);
$$;

revoke execute on function troth.write_history(smallint, timestamptz, jsonb) from public;
grant execute on function troth.write_history(smallint, timestamptz, jsonb) to troth_auditor;
