"""Stylesheets, each under an address that names its content, so that a browser may keep it for a year."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .colours import FALLBACK, accept_colour, write_stylesheet

_PARTS = ("base.css", "layout.css", "components.css", "pages.css")
_FOLDER = Path(__file__).parent / "static"
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_ONCE = {"Cache-Control": "no-store"}


class Assets:
    """The one stylesheet, read at start, and the palette of each brand, written when asked for."""

    def __init__(self) -> None:
        self._content = b"\n".join((_FOLDER / part).read_bytes() for part in _PARTS)
        palettes = write_stylesheet(FALLBACK).encode()
        self._version = hashlib.sha256(self._content + palettes).hexdigest()[:12]
        self.stylesheet = f"/assets/portal.{self._version}.css"

    def palette(self, colour: str) -> str:
        """The address of the palette for `colour`; it changes when palettes are made otherwise."""
        return f"/assets/brand.css?c={colour}&v={self._version}"

    def routes(self) -> list[Route]:
        return [
            Route("/assets/portal.{version}.css", self._send_stylesheet),
            Route("/assets/brand.css", _send_palette),
        ]

    async def _send_stylesheet(self, request: Request) -> Response:
        """Ours, whichever version is asked for: while instances are replaced one by one, a page of the new
        one may ask the old one. Only the right version may be kept."""
        right = request.path_params["version"] == self._version
        return Response(self._content, media_type="text/css", headers=_FOREVER if right else _ONCE)


async def _send_palette(request: Request) -> Response:
    colour = accept_colour(request.query_params.get("c", ""))
    if colour is None:
        return PlainTextResponse("c is a colour: six hexadecimal digits\n", status_code=400)
    return Response(write_stylesheet(colour), media_type="text/css", headers=_FOREVER)
