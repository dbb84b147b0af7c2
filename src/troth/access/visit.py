"""Signing in as a person would: over HTTPS, through the edge, on the pages that everybody uses."""

from http.cookies import CookieError, SimpleCookie

import httpx
import msgspec

from troth.core.errors import PlatformError
from troth.core.names import SESSION_COOKIE
from troth.core.reach import PublicFace, Visitor
from troth.core.secret import Secret


class Account(msgspec.Struct, frozen=True):
    """Who signs in, and on which client domain."""

    domain: str
    email: str
    password: Secret


class Visit(msgspec.Struct, frozen=True):
    """A session that was opened: its cookie, and the whole `Set-Cookie` line it came in (RFC 6265)."""

    domain: str
    cookie: str
    set_cookie: str

    @property
    def cookies(self) -> dict[str, str]:
        """As `Visitor.request` wants them."""
        return {SESSION_COOKIE: self.cookie}


async def sign_in(visitor: Visitor, face: PublicFace, account: Account) -> Visit:
    """Fill in the sign-in form. Raises PlatformError when it does not lead to a session."""
    answer = await visitor.request(
        "POST",
        account.domain,
        "/login",
        headers={"Origin": face.origin(account.domain), "Sec-Fetch-Site": "same-origin"},
        form={"email": account.email, "password": account.password.reveal().decode(), "return_to": "/"},
    )
    for line in answer.headers.get_list("set-cookie"):
        value = _session_cookie(line)
        if value:
            return Visit(account.domain, value, line)
    raise PlatformError(
        f"Signing in on {account.domain} was answered {answer.status_code} without a session."
    )


def _session_cookie(line: str) -> str:
    try:
        morsels = SimpleCookie(line)
    except CookieError:
        return ""
    return morsels[SESSION_COOKIE].value if SESSION_COOKIE in morsels else ""


async def request_token(visitor: Visitor, visit: Visit) -> httpx.Response:
    """Ask for the session's access token, as the browser application of that domain does."""
    return await visitor.request(
        "GET",
        visit.domain,
        "/session/token",
        headers={"Sec-Fetch-Site": "same-origin"},
        cookies=visit.cookies,
    )


async def fetch_token(visitor: Visitor, visit: Visit) -> str:
    """The session's access token. Raises PlatformError when it is refused."""
    answer = await request_token(visitor, visit)
    if answer.status_code != 200:
        raise PlatformError(f"/session/token on {visit.domain} answered {answer.status_code}.")
    return str(answer.json()["access_token"])


async def sign_out(visitor: Visitor, face: PublicFace, visit: Visit) -> None:
    """End the session."""
    await visitor.request(
        "POST",
        visit.domain,
        "/logout",
        headers={"Origin": face.origin(visit.domain), "Sec-Fetch-Site": "same-origin"},
        cookies=visit.cookies,
    )
