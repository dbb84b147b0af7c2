-- Refresh tokens that are exchanged at the same moment, in one call and so in one commit.
--
-- Each is exchanged in its own tenant's context, if it is good; of what it does not exchange it says nothing, and
-- troth.renew_grant is asked about that one alone: whatever ends a family, or is told to the audit trail, is a
-- transaction of its own, as before. It waits for no row that somebody else holds: nobody waits for a stranger's
-- family, and two calls cannot wait for one another. `place` counts from 1.
create function troth.renew_grants(
    p_domains text[], p_sessions uuid[], p_generations integer[], p_secrets bytea[], p_clients text[],
    p_confirmations text[], p_calls uuid[]
) returns table (
    place integer, outcome text, session_id uuid, person_id uuid, scopes text[], person_scopes text[], nonce text,
    authenticated_at timestamptz, amr text[], details jsonb, generation integer
) language plpgsql as $$
#variable_conflict use_column
declare
    v_domain text;
begin
    for v_place in 1 .. cardinality(p_sessions) loop
        if v_domain is distinct from p_domains[v_place] then
            v_domain := p_domains[v_place];
            perform troth.enter_domain(v_domain);
        end if;
        return query
            update troth.refresh_family f
            set generation = f.generation + 1, rotated_at = now(), rotated_by = p_calls[v_place]
            from troth.session s join troth.person p on p.id = s.person_id
            where f.session_id = (select one.session_id from troth.refresh_family one
                                  where one.session_id = p_sessions[v_place] for no key update skip locked)
              and f.generation = p_generations[v_place] and f.secret_hash = p_secrets[v_place]
              and f.confirmation is not distinct from p_confirmations[v_place]::jsonb
              and f.rotated_at + f.idle > now()
              and s.id = p_sessions[v_place] and s.client_id = p_clients[v_place] and s.domain = v_domain
              and troth.session_alive(s.id)
            returning v_place, 'renewed', s.id, p.id, s.scopes, troth.scopes_of(p.roles), null::text,
                      s.authenticated_at, s.amr, s.details, f.generation;
    end loop;
end $$;

revoke execute on function
    troth.renew_grants(text[], uuid[], integer[], bytea[], text[], text[], uuid[])
from public;
grant execute on function
    troth.renew_grants(text[], uuid[], integer[], bytea[], text[], text[], uuid[])
to troth_app;
