"""Troth's own pages: templates, the headers that protect them, and what they are drawn with."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from troth.access.errors import CrossSite, OAuthError
from troth.access.tenants import Domain, DomainDirectory
from troth.core.errors import NotFound, OutcomeUnknown, RequestError, TooMany, Unavailable
from troth.web.answers import problems, request_id
from troth.web.brand import letter, stylesheet
from troth.web.language import words_of
from troth.web.problem import retry_after
from troth.web.reports import PATH as REPORTS

HERE = Path(__file__).parent

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

SCRIPT = "/troth-assets/passkeys.js"
"""The one script there is. A page gets it by naming it; every other page allows none."""

_FEATURES = {"Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()"}

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::\d+)?", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


class PageServices(Protocol):
    """What these routes need."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def pages(self) -> "Pages": ...


class Pages:
    """Renders templates for a request in its language and its domain's branding."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.files = {file.name: Asset(file.read_bytes(), _TYPES[file.suffix]) for file in _static_files()}
        self._version = hashlib.sha256(b"".join(one.tag for one in self.files.values())).hexdigest()[:12]

    def render(
        self,
        request: Request,
        domain: Domain,
        template: str,
        *,
        status: int = 200,
        leads_to: str = "",
        script: str = "",
        **context: object,
    ) -> Response:
        """A page. `leads_to` is the redirect URI to which a form on it may lead in the end, `script` the path
        of the one script that it uses."""
        words = words_of(request)
        html = self._environment.get_template(template).render(
            t=words, domain=domain, brand=domain.branding, version=self._version, script=script, **context
        )
        headers = {"Content-Language": words.language, "Vary": "Accept-Language, Cookie"}
        return Response(
            html,
            status,
            {**headers, **_guard(leads_to, domain.issuer + script if script else "")},
            "text/html; charset=utf-8",
        )

    def error(self, request: Request, domain: Domain, error: RequestError) -> Response:
        """A page that says what went wrong as far as a person may know it."""
        response = self.render(
            request,
            domain,
            "error.html",
            status=error.status,
            text=_text(error),
            detail=error.public if isinstance(error, OAuthError) else "",
            reference=request_id(request),
        )
        seconds = retry_after(error)
        if seconds is not None:
            response.headers["Retry-After"] = str(seconds)
        return response


class Asset:
    """A file that never changes while the process lives."""

    def __init__(self, content: bytes, kind: str) -> None:
        self.content = content
        self.kind = kind
        self.tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'.encode()

    def answer(self, request: Request, *, keep_seconds: int, policy: str = "default-src 'none'") -> Response:
        """The content, or 304 when the browser has it."""
        headers = {
            "Cache-Control": f"public, max-age={keep_seconds}",
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            **_FEATURES,
            "ETag": self.tag.decode(),
            "X-Content-Type-Options": "nosniff",
        }
        if self.tag.decode() in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, 200, headers, self.kind)


def routes(services: PageServices) -> list[Route]:
    """What pages are drawn with: fixed files, and the colours and logo of each domain."""

    async def brand(request: Request) -> Response:
        domain = await services.directory.find(request.headers.get("host", ""))
        css = stylesheet(domain.branding).encode()
        return Asset(css, _TYPES[".css"]).answer(request, keep_seconds=60)

    async def logo(request: Request) -> Response:
        domain = await services.directory.find(request.headers.get("host", ""))
        image = domain.branding.logo
        if image is None:
            raise NotFound("This domain has no logo.")
        # An SVG opened by its address is a document: it gets no script and no origin.
        policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return Asset(image.data, image.type).answer(request, keep_seconds=60, policy=policy)

    async def icon(request: Request) -> Response:
        domain = await services.directory.find(request.headers.get("host", ""))
        return Asset(letter(domain.branding).encode(), _TYPES[".svg"]).answer(request, keep_seconds=60)

    async def file(request: Request) -> Response:
        asset = services.pages.files.get(request.path_params["name"])
        if asset is None:
            raise NotFound("There is no such file.")
        return asset.answer(request, keep_seconds=31_536_000)

    return [
        Route("/troth-assets/brand.css", problems(brand), methods=["GET"]),
        Route("/troth-assets/logo", problems(logo), methods=["GET"]),
        Route("/troth-assets/icon", problems(icon), methods=["GET"]),
        Route("/troth-assets/{name}", problems(file), methods=["GET"]),
    ]


PageHandler = Callable[[Request, Domain], Awaitable[Response]]


def page(services: PageServices, handler: PageHandler) -> Callable[[Request], Awaitable[Response]]:
    """A route for people: finds the domain, and shows what is refused as a page."""

    async def answer(request: Request) -> Response:
        domain = await services.directory.find(request.headers.get("host", ""))
        try:
            return await handler(request, domain)
        except RequestError as error:
            return services.pages.error(request, domain, error)

    return problems(answer)


def _static_files() -> list[Path]:
    return sorted(file for file in (HERE / "static").iterdir() if file.suffix in _TYPES)


def _guard(leads_to: str, script: str) -> dict[str, str]:
    """No script but the one that is named, by its whole address: the rest of the domain is the customer's
    application, whose files must not run here. Nothing from elsewhere, never inside a frame (clickjacking of
    consent)."""
    target = f" {form_target(leads_to)}" if leads_to else ""
    scripts = f"script-src {script}; " if script else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; {scripts}style-src 'self'; img-src 'self'; "
        f"form-action 'self'{target}; base-uri 'none'; frame-ancestors 'none'; "
        f"report-uri {REPORTS}; report-to default",
        "Reporting-Endpoints": f'default="{REPORTS}"',
        # No page that opened this one, or that it opens, gets hold of its window.
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        **_FEATURES,
        # Not `no-referrer`: a form would then send `Origin: null`, and our own check could not tell it apart.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def form_target(redirect_uri: str) -> str:
    """The source that lets a form end there: Chromium applies `form-action` to redirects as well."""
    parts = urlsplit(redirect_uri)
    if parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc):
        return f"{parts.scheme}://{parts.netloc}"
    # A policy cannot name `[::1]` (CSP 3 section 2.3.1); without scripts its scheme is narrow enough.
    return f"{parts.scheme}:" if _SCHEME.fullmatch(parts.scheme) else ""


def _text(error: RequestError) -> str:
    """The key of the text for a person."""
    if isinstance(error, CrossSite):
        return "cross_site"
    if isinstance(error, TooMany):
        return "busy"
    if isinstance(error, OutcomeUnknown):
        return "outcome_unknown"
    if isinstance(error, Unavailable):
        return "unavailable"
    return "bad_request" if isinstance(error, OAuthError) else "malformed"
