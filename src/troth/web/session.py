"""`/session` (who am I) and `/session/token` (the access token of the domain's own browser application)."""

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.access.accounts.people import Accounts
from troth.access.sessions import Session, Sessions
from troth.access.tenants import Domain, DomainDirectory
from troth.access.tokens import AccessTokens
from troth.core.clock import Clock, to_wire
from troth.core.errors import Malformed
from troth.web.answers import json_response, problems, request_id
from troth.web.cookies import read_cookie
from troth.web.forms import once, read_query
from troth.web.origin import require_own_script


class SessionServices(Protocol):
    """What these routes need."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def tokens(self) -> AccessTokens: ...
    @property
    def clock(self) -> Clock: ...


def routes(services: SessionServices) -> list[Route]:
    """The routes under /session."""

    async def who(request: Request) -> Response:
        domain, session = await _open(request, services)
        profile = await services.accounts.profile(session.tenant, session.person, session.profile)
        return json_response(
            {
                "person": {"id": str(session.person), "name": profile.name, "email": profile.email},
                "tenant": {"slug": domain.tenant, "name": domain.tenant_name},
                "domain": domain.name,
                "account": f"{domain.issuer}/account",
                "scopes": session.person_scopes,
                "authenticated_at": to_wire(session.authenticated_at),
                "expires_at": to_wire(session.expires_at),
            }
        )

    async def token(request: Request) -> Response:
        require_own_script(request.headers)
        asked = once(read_query(request)).get("scope", "")
        domain, session = await _open(request, services)
        try:
            minted = await services.tokens.for_session(domain, session, tuple(asked.split()))
        except ValueError as error:
            raise Malformed("A scope is not known here.", detail=str(error)) from None
        return json_response(
            {
                "access_token": minted.token,
                "token_type": "Bearer",
                "expires_in": minted.expires_in(services.clock.now()),
                "scope": minted.scope,
            }
        )

    return [
        Route("/session", problems(who), methods=["GET"]),
        Route("/session/token", problems(token), methods=["GET"]),
    ]


async def _open(request: Request, services: SessionServices) -> tuple[Domain, Session]:
    domain = await services.directory.find(request.headers.get("host", ""))
    session = await services.sessions.open(domain, read_cookie(request), request=request_id(request))
    return domain, session
