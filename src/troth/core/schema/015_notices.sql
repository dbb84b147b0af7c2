-- What people are told without having asked: that a factor of theirs was added, removed or used up, and that a
-- browser signed in which had not before.

alter table troth.mail_order drop constraint mail_order_kind_check;
alter table troth.mail_order add constraint mail_order_kind_check
    check (kind in ('reset', 'registration', 'verification', 'email_change', 'invitation', 'password_changed',
                    'email_changed', 'factor_added', 'factor_removed', 'recovery_code_used', 'new_device'));

-- As in 008: an invitation comes with roles, and only the operator's commands ask for one.
drop policy not_by_an_instance on troth.mail_order;
create policy not_by_an_instance on troth.mail_order as restrictive for insert to troth_app
    with check (kind in ('reset', 'registration', 'verification', 'email_change', 'factor_added',
                         'factor_removed', 'recovery_code_used', 'new_device'));

create function troth.tell_person(p_domain text, p_person uuid, p_kind text, p_language text) returns void
language plpgsql as $$
declare
    v_tenant uuid := troth.enter_domain(p_domain);
begin
    insert into troth.mail_order (id, tenant_id, domain, kind, language, person_id)
    select gen_random_uuid(), v_tenant, p_domain, p_kind, p_language, p.id
    from troth.person p where p.id = p_person;
end $$;

revoke execute on function troth.tell_person(text, uuid, text, text) from public;
grant execute on function troth.tell_person(text, uuid, text, text) to troth_app;
