"""The session cookie: `__Host-` binds it to one host over HTTPS, HttpOnly keeps scripts away from it."""

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "__Host-troth"


def read_cookie(request: Request) -> str:
    """The session's token as the browser sent it, or nothing."""
    return request.cookies.get(COOKIE, "")


def set_cookie(response: Response, token: str) -> None:
    """Hand the token to the browser, until it is closed; the server's own limits hold besides."""
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")


def clear_cookie(response: Response) -> None:
    """Take the cookie away, with the attributes without which a browser ignores a `__Host-` name."""
    response.set_cookie(COOKIE, "", max_age=0, path="/", secure=True, httponly=True, samesite="lax")
