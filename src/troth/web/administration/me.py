"""`/api/v1/me`: whom an access token speaks for, and what it may."""

from typing import Any

from troth.access.errors import NoSession
from troth.access.scopes import ScopeSet, grant_for_session, scope_set
from troth.core.clock import to_wire
from troth.core.errors import Unauthenticated
from troth.core.names import SESSION_CLIENT
from troth.web.administration.desk import AdministrationServices, answer
from troth.web.api import Answer, Principal, authenticate
from troth.web.call import Call


class Me:
    """A third-party client is told of the person what it was allowed to see (`profile`, `email`)."""

    def __init__(self, services: AdministrationServices) -> None:
        self._services = services

    async def read(self, call: Call) -> Answer:
        principal = await authenticate(call, self._services.authenticator)
        domain = await self._services.directory.find(call.domain)
        try:
            session = await self._services.sessions.open_by_id(domain, principal.session)
        except NoSession:
            raise Unauthenticated(
                "The session of this access token has ended.", error="invalid_token"
            ) from None
        roles = await self._services.database.fetchval(
            "select troth.roles_held($1, $2)", domain.name, principal.session
        )
        profile = await self._services.accounts.profile(session.tenant, session.person, session.profile)
        asked = scope_set(principal.reach)
        now = ScopeSet(asked.identity, grant_for_session(asked, scope_set(session.person_scopes)))
        person: dict[str, Any] = {"id": str(session.person)}
        if _may_see(principal, "profile"):
            person |= {"name": profile.name, "roles": roles}
        if _may_see(principal, "email"):
            person["email"] = profile.email
        return answer(
            {
                "person": person,
                "tenant": {"slug": domain.tenant, "name": domain.tenant_name},
                "domain": domain.name,
                "client": principal.client,
                "scopes": now.texts if asked else (),
                "session": {
                    "acr": session.acr,
                    "amr": session.amr,
                    "authenticated_at": to_wire(session.authenticated_at),
                    "expires_at": to_wire(session.expires_at),
                },
            }
        )


def _may_see(principal: Principal, scope: str) -> bool:
    return principal.client == SESSION_CLIENT or scope in principal.scopes
