-- An instance remembers a client for seconds while the feed of endings is lively. What is kept beside its row is
-- part of it: a secret that is added, retired or removed is told like a change of the client itself.
create function troth.client_secret_changes() returns trigger
language plpgsql as $$
declare
    v_secret troth.client_secret := coalesce(new, old);
begin
    perform troth.announce(v_secret.tenant_id, 'client', v_secret.tenant_id || '/' || v_secret.client_id, false);
    return null;
end $$;
create trigger client_secret_changes after insert or update or delete on troth.client_secret
    for each row execute function troth.client_secret_changes();

revoke execute on function troth.client_secret_changes() from public;
grant execute on function troth.client_secret_changes() to troth_app;
