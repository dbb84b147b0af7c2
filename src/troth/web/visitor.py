"""Who is signed in, in the browser that sent a request."""

from starlette.requests import Request

from troth.access.errors import NoSession
from troth.access.sessions import Session, Sessions
from troth.access.tenants import Domain
from troth.web.answers import request_id
from troth.web.cookies import read_cookie


async def session_of(request: Request, domain: Domain, sessions: Sessions) -> Session | None:
    """The living session of this browser on this domain, or None."""
    try:
        return await sessions.open(domain, read_cookie(request), request=request_id(request))
    except NoSession:
        return None
