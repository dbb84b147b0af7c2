"""Which request goes where, and what is taken from it or added to its answer on the way.

A client's request passes, in this order: cleaning, refusal of what is ambiguous, Troth's own paths, and
then the application of its domain behind the question whose session it is.
"""

from typing import Any

from troth.core.names import MUTUAL_TLS_PREFIX
from troth.hosting.edge_cleaning import (
    NUMBER,
    clean,
    clean_of_applications,
    connections,
    number_unless_passed_on,
)
from troth.hosting.edge_limits import end_after_long_bodies
from troth.hosting.edge_logs import append, told
from troth.hosting.edge_networks import REFUSED, VARIABLE, refused_networks, refusing
from troth.hosting.edge_proxy import (
    APP_HEADER,
    ask_known,
    ask_session,
    pass_endings,
    pass_to_app,
    pass_to_web,
)
from troth.hosting.edge_state import ALIAS_PATTERN, MEBIBYTE, EdgeApp, EdgeState
from troth.hosting.edge_trace import begin_trace, go_on_with_trace, hear_trace
from troth.hosting.streams import ENDINGS_PATH

Json = dict[str, Any]

HSTS = "max-age=63072000; includeSubDomains; preload"
"""Two years: twice what the browsers' preload list asks for."""

CERTIFICATE_HEADER = "X-Troth-Client-Certificate"
"""The client certificate of a connection to a domain's alias for mutual TLS: base64 of its DER."""

WEB_BODY = MEBIBYTE
"""The largest body Troth's own paths accept, in bytes."""

WEB_PATHS = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/oauth/*",
    "/login",
    "/login/*",
    "/logout",
    "/logout/*",
    "/device",
    "/device/*",
    "/account",
    "/account/*",
    "/session",
    "/session/*",
    "/api/*",
    "/health",
    "/troth-assets/*",
]

_HOST = "{http.request.host}"

MUTUAL_TLS_PATHS = [
    "/oauth/token",
    "/oauth/par",
    "/oauth/revoke",
    "/oauth/introspect",
    "/oauth/device",
    "/oauth/userinfo",
    "/api/*",
]
"""What a domain's alias for mutual TLS answers: what clients call by themselves, and no page."""

HIDDEN_PATHS = ["/.troth", "/.troth/*", "/internal", "/internal/*"]

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_AMBIGUOUS_PATH = r"(?i)^(?:[^/]|$|[^?]*(?:(?:/|%2f)(?:\.|%2e){1,2}(?:/|%2f|\?|$)|%2f|%5c|\\|%00))"
"""Dot segments, encoded slashes, backslashes and NUL: the edge, the session's public paths and an application
may each read such a path differently, and the strictest of them is then walked around.

So is whatever begins with no slash: `GET x:http://any/health` has no path here, so no rule about paths sees
it, but an instance reads `/health`: the session's question would be answered by the wrong page, with 200."""

_CACHE = "Cache-Control"

DEFAULTS = {
    _CACHE: "private",  # a page made for one person is no shared cache's to keep
    "Content-Security-Policy": "frame-ancestors 'self'; base-uri 'self'; object-src 'none'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Said for an application that does not say it itself; never over what it says."""

_FRAMES = {"X-Frame-Options": "SAMEORIGIN"}

_ERRORS = {
    f"403{REFUSED}": ("network_denied", "This domain does not answer the network that you come from"),
    400: ("malformed", "The request cannot be read"),
    403: ("cross_site", "This request came from another site"),
    404: ("not_found", "There is nothing here"),
    405: ("method_not_allowed", "This method is not accepted"),
    413: ("too_large", "The request is too large"),
    421: ("misdirected", "This connection is for another domain"),
    502: ("unavailable", "The service cannot answer right now"),
    503: ("unavailable", "The service cannot answer right now"),
    504: ("unavailable", "The service cannot answer right now"),
}


def public_routes(state: EdgeState) -> list[Json]:
    """The routes of the HTTPS server."""
    return [
        end_after_long_bodies(),
        *clean(_secured()),
        {"handle": [*begin_trace(state.traced), *told()]},
        _exceptions(state),
        {"match": [{"path": WEB_PATHS}], "handle": _to_web(state), "terminal": True},
        *_applications(state),
    ]


def private_routes(state: EdgeState) -> list[Json]:
    """The routes of the listener for applications: the API, what ended, and nothing else."""
    api: Json = {"path": ["/api/*"]}
    if state.on_demand is None:
        api["host"] = [domain.name for domain in state.domains]
    return [
        end_after_long_bodies(),
        {
            "handle": [
                *hear_trace(state.traced),
                clean_of_applications(),
                *go_on_with_trace(state.traced),
                *told(),
                append("request_id", "{http.request.header.X-Request-Id}"),
            ]
        },
        *number_unless_passed_on(),
        *connections(),
        *_refusals(),
        {"match": [api], "handle": [_limit(WEB_BODY), pass_to_web(state)], "terminal": True},
        {"match": [{"path": [ENDINGS_PATH]}], "handle": [pass_endings(state)], "terminal": True},
        {"handle": [_refuse(404)]},
    ]


def redirect_routes(state: EdgeState) -> list[Json]:
    """The routes of the HTTP server: the same host under HTTPS, and nothing else.

    No HSTS here: RFC 6797, section 7.2, forbids it over plain HTTP.
    """
    port = "" if state.https_port == 443 else f":{state.https_port}"
    location = f"https://{{http.request.host}}{port}{{http.request.uri}}"
    redirect = {"handler": "static_response", "status_code": 308, "headers": {"Location": [location]}}
    nothing = {"handler": "static_response", "status_code": 421, "close": True}
    unsigned = {"handler": "headers", "response": {"delete": ["Server"]}}
    # `GET x:.evil.example/` would put a target behind our host that is no path of it (open redirector).
    ours = {
        "host": [domain.name for domain in state.domains],
        "vars_regexp": {"{http.request.uri}": {"pattern": "^/"}},
    }
    return [
        {"handle": [unsigned]},
        *refused_networks(state, [{"handler": "static_response", "status_code": 403, "close": True}]),
        {"match": [ours], "handle": [redirect], "terminal": True},
        {"handle": [nothing if state.on_demand is None else ask_known(state, _HOST, [redirect], [nothing])]},
    ]


def error_routes() -> list[Json]:
    """What a client reads when the edge itself refuses or fails: a page for a person, RFC 9457 otherwise."""
    title = "{troth.title}"
    problem = (
        '{"type":"about:blank","title":"{troth.title}","status":{http.error.status_code},'
        '"code":"{troth.code}","instance":"urn:uuid:{http.request.uuid}"}'
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<h1>{title}.</h1><p>Reference: {{http.request.uuid}}</p></html>"
    )
    person = {"method": ["GET", "HEAD"], "header": {"Accept": ["*text/html*"]}}
    return [
        {"handle": [_secured(), *_defaults(), append("err_id", "{http.error.id}"), _describe()]},
        {"match": [{"vars": {"{http.error.status_code}": ["503"]}}], "handle": [_say("Retry-After", "1")]},
        {"match": [person], "handle": [_answer("text/html; charset=utf-8", page)], "terminal": True},
        {"handle": [_answer("application/problem+json", problem)]},
    ]


def _exceptions(state: EdgeState) -> Json:
    """What is refused, and what has ways of its own: each route that a request passes by costs it time and
    its goroutine a deeper stack, so that all of these are one to whatever none of them fits."""
    routes: list[Json] = [
        *_strangers(state),
        *refused_networks(state, refusing(_refuse(403))),
        *_refusals(),
        *_aliases(state),
        {"match": [{"path": HIDDEN_PATHS}], "handle": [_refuse(404)], "terminal": True},
    ]
    matches = [match for route in routes for match in route["match"]]
    return {"match": matches, "handle": [{"handler": "subroute", "routes": routes}], "terminal": True}


def _strangers(state: EdgeState) -> list[Json]:
    """Where domains come and go, a name that got no certificate never comes so far, the edge answers 421 when
    the handshake was for another name, and the web service 404 when the domain has gone since."""
    if state.on_demand is not None:
        return []
    hosts = [*(domain.name for domain in state.domains), *(domain.alias for domain in state.aliases)]
    return [{"match": [{"not": [{"host": hosts}]}], "handle": [_refuse(421)], "terminal": True}]


def _aliases(state: EdgeState) -> list[Json]:
    aliases: list[Json] = [{"host": [domain.alias for domain in state.aliases]}] if state.aliases else []
    if state.on_demand is not None:
        prefixed = {"vars_regexp": {_HOST: {"pattern": ALIAS_PATTERN}}}
        named_so = [domain.name for domain in state.domains if domain.name.startswith(MUTUAL_TLS_PREFIX)]
        aliases = [{**prefixed, "not": [{"host": named_so}]} if named_so else prefixed]
    return [{"match": aliases, "handle": [_mutual_tls(state)], "terminal": True}] if aliases else []


def _mutual_tls(state: EdgeState) -> Json:
    """The alias of a domain: the certificate of this very connection goes along, and nobody else's can."""
    shown = {CERTIFICATE_HEADER: ["{http.request.tls.client.certificate_der_base64}"]}
    handle = [
        {"handler": "headers", "request": {"set": shown}},
        {"handler": "headers", "request": {"delete": ["Cookie"]}},
        *_to_web(state),
    ]
    return {
        "handler": "subroute",
        "routes": [
            {"match": [{"path": MUTUAL_TLS_PATHS}], "handle": handle, "terminal": True},
            {"handle": [_refuse(404)]},
        ],
    }


def _to_web(state: EdgeState) -> list[Json]:
    return [*_defaults_of_web(), _limit(WEB_BODY), pass_to_web(state)]


def _secured() -> Json:
    """What every answer says, set at once: it is there even when a later handler fails."""
    always = {
        "Strict-Transport-Security": [HSTS],
        "X-Content-Type-Options": ["nosniff"],
        "X-Request-Id": [NUMBER],
    }
    return {"handler": "headers", "response": {"set": always, "delete": ["Server"]}}


def _defaults() -> list[Json]:
    """What an answer says that has no word of its own on it; `Via` is added by the very last step before."""
    return [
        _unsigned(),
        *(_default({name: value}, name) for name, value in DEFAULTS.items()),
        _default(_FRAMES, *_FRAMES, "Content-Security-Policy"),
    ]


def _defaults_of_web() -> list[Json]:
    """The same in fewer steps: an answer of the web service with a policy of its own has the rest of its own
    as well (`web/pages.py`), and one without has none of it."""
    rest = {name: value for name, value in DEFAULTS.items() if name != _CACHE}
    return [
        _unsigned(),
        _default({_CACHE: DEFAULTS[_CACHE]}, _CACHE),
        _default({**rest, **_FRAMES}, "Content-Security-Policy"),
    ]


def _unsigned() -> Json:
    return {"handler": "headers", "response": {"delete": ["via"], "deferred": True}}


def _default(said: dict[str, str], *absent: str) -> Json:
    """Set headers on an answer that has none of `absent`."""
    missing = {"headers": dict.fromkeys(absent)}
    wanted = {name: [value] for name, value in said.items()}
    return {"handler": "headers", "response": {"set": wanted, "require": missing, "deferred": True}}


def _refusals() -> list[Json]:
    ambiguous = {"vars_regexp": {"{http.request.uri}": {"pattern": _AMBIGUOUS_PATH}}}
    return [
        {"match": [{"not": [{"method": METHODS}]}], "handle": [_refuse(405)], "terminal": True},
        {"match": [ambiguous], "handle": [_refuse(400)], "terminal": True},
    ]


def _applications(state: EdgeState) -> list[Json]:
    """The way to the application of a domain. Where domains come and go, the answer whose session it is says
    which application that is; a domain that is gone has none, and the answer is 404."""
    if state.on_demand is None:
        return [_app_route(state, app) for app in state.apps]
    ways = [
        {
            "match": [{"header": {APP_HEADER: [app.name]}}],
            "handle": [
                {"handler": "headers", "request": {"delete": [APP_HEADER]}},
                _limit(app.max_body),
                pass_to_app(state, app),
            ],
            "terminal": True,
        }
        for app in state.apps
    ]
    chosen = {"handler": "subroute", "routes": [*ways, {"handle": [_refuse(404)]}]}
    return [{"handle": [*_before_an_application(state, APP_HEADER), chosen], "terminal": True}]


def _app_route(state: EdgeState, app: EdgeApp) -> Json:
    hosts = [domain.name for domain in state.domains if domain.app == app.name]
    handle = [*_before_an_application(state), _limit(app.max_body), pass_to_app(state, app)]
    return {"match": [{"host": hosts}], "handle": handle, "terminal": True}


def _before_an_application(state: EdgeState, *wanted: str) -> list[Json]:
    foreign_socket = {
        "header": {"Upgrade": ["websocket"], "Origin": ["*"]},
        "not": [{"header": {"Origin": ["https://{http.request.hostport}"]}}],
    }
    return [
        *_defaults(),
        # Cross-site WebSocket hijacking: browsers send cookies along and no CORS rule stops them.
        _when(foreign_socket, _refuse(403)),
        {"handler": "headers", "request": {"delete": ["Authorization"]}},
        ask_session(state, *wanted),
        *_hide_session(),
    ]


def _hide_session() -> list[Json]:
    """Take our cookies out of the Cookie header and leave the application's own."""
    # The closing semicolon stays where it is: taken along, it would hide a second one of ours behind it.
    ours = {"search_regexp": r"(?i)(^|;)\s*__Host-(?:troth|device|pending|language)\s*=[^;]*", "replace": ""}
    rest = {"search_regexp": r"^[;\s]+", "replace": ""}
    return [
        {"handler": "headers", "request": {"replace": {"Cookie": [ours, rest]}}},
        _when({"header": {"Cookie": [""]}}, {"handler": "headers", "request": {"delete": ["Cookie"]}}),
    ]


def _when(match: Json, handler: Json) -> Json:
    return {"handler": "subroute", "routes": [{"match": [match], "handle": [handler]}]}


def _refuse(status: int) -> Json:
    return {"handler": "error", "status_code": status}


def _limit(size: int) -> Json:
    return {"handler": "request_body", "max_size": size}


def _say(name: str, value: str) -> Json:
    return {"handler": "headers", "response": {"set": {name: [value]}}}


def _describe() -> Json:
    return {
        "handler": "map",
        "source": f"{{http.error.status_code}}{{http.vars.{VARIABLE}}}",
        "destinations": ["{troth.code}", "{troth.title}"],
        "mappings": [{"input": str(status), "outputs": list(words)} for status, words in _ERRORS.items()],
        "defaults": ["internal", "Something went wrong on our side"],
    }


def _answer(kind: str, body: str) -> Json:
    return {
        "handler": "static_response",
        "status_code": "{http.error.status_code}",
        "headers": {"Content-Type": [kind], "Cache-Control": ["no-store"]},
        "body": body,
    }
