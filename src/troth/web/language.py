"""Which language a page speaks: the one that an application asked for (`ui_locales`), else the browser's.

The wish is kept in a cookie for as long as a sign-in may take, so that every page on its way has it, also one
that is shown again because something was wrong.
"""

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from troth.access.oauth.interactions import LIFETIME
from troth.core.names import LANGUAGE_COOKIE
from troth.web.catalogue import LANGUAGES, Words, words_for, words_in
from troth.web.cookies import read_cookie


def words_of(request: Request) -> Words:
    """The texts for this request."""
    wished = getattr(request.state, "language", None)
    if wished is None:
        wished = read_cookie(request, LANGUAGE_COOKIE)
    if wished in LANGUAGES:
        return words_in(wished)
    return words_for(request.headers.get("accept-language", ""))


def wish(request: Request, locales: Iterable[str]) -> None:
    """Let the pages of this request speak the first of these languages (RFC 5646) that there is; an empty
    wish, or one for languages that we do not speak, leaves it to the browser."""
    spoken = (tag.partition("-")[0].lower() for tag in locales)
    request.state.language = next((one for one in spoken if one in LANGUAGES), "")


def keep_wish(request: Request, response: Response) -> Response:
    """Have the pages that follow speak it too, or forget what another application wished."""
    language: str = request.state.language
    if language:
        age = int(LIFETIME.total_seconds())
    elif read_cookie(request, LANGUAGE_COOKIE):
        age = 0
    else:
        return response
    response.set_cookie(
        LANGUAGE_COOKIE, language, max_age=age, path="/", secure=True, httponly=True, samesite="lax"
    )
    return response
