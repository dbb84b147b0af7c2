"""Our cookies: `__Host-` binds them to one host over HTTPS, HttpOnly keeps scripts away from them."""

from starlette.requests import Request
from starlette.responses import Response

from troth.access.accounts.devices import LIFETIME
from troth.access.factors.pending import LIFETIME as PENDING_LIFETIME
from troth.core.names import DEVICE_COOKIE, PENDING_COOKIE, SESSION_COOKIE


def read_cookie(request: Request, cookie: str = SESSION_COOKIE) -> str:
    """The session's token, or what another cookie of ours holds, as the browser sent it, or nothing.

    Read to the letter. Starlette strips whatever Python takes for white space: a sibling domain could set
    `\\xa0__Host-troth` for all of its parent, a name that no browser guards, and it would replace ours here
    (session fixation). Two tokens are none, for nobody can say which of them is the browser's own.
    """
    tokens = {
        value
        for line in request.headers.getlist("cookie")
        for name, _, value in (pair.strip(" \t").partition("=") for pair in line.split(";"))
        if name == cookie
    }
    return tokens.pop() if len(tokens) == 1 else ""


def set_cookie(response: Response, token: str) -> None:
    """Hand the token to the browser, until it is closed; the server's own limits hold besides."""
    response.set_cookie(SESSION_COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")


def clear_cookie(response: Response) -> None:
    """Take the cookie away, with the attributes without which a browser ignores a `__Host-` name."""
    response.set_cookie(SESSION_COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="lax")


def read_device(request: Request) -> str:
    """What the browser says of having been signed in before, see `access/accounts/devices.py`."""
    return read_cookie(request, DEVICE_COOKIE)


def set_device(response: Response, device: str) -> None:
    """Let the browser be recognised at its next sign-in. It opens nothing."""
    age = int(LIFETIME.total_seconds())
    response.set_cookie(
        DEVICE_COOKIE, device, max_age=age, path="/", secure=True, httponly=True, samesite="lax"
    )


def set_pending(response: Response, token: str) -> None:
    """Let the browser find its pending sign-in again, see `access/factors/pending.py`. It opens nothing."""
    age = int(PENDING_LIFETIME.total_seconds())
    response.set_cookie(
        PENDING_COOKIE, token, max_age=age, path="/", secure=True, httponly=True, samesite="strict"
    )


def clear_pending(response: Response) -> None:
    """The sign-in is not pending any more."""
    response.set_cookie(
        PENDING_COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="strict"
    )
