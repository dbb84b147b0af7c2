"""How the edge passes a request on: mutual TLS, which instance, when again, when not."""

from typing import Any

from troth.core.process import Endpoint
from troth.hosting.edge_state import WEB, EdgeApp, EdgeState, service_name
from troth.hosting.health import NOT_HELD, READY_PATH
from troth.hosting.shedding import PASSED_HEADER

Json = dict[str, Any]

NOTICED_SECONDS = 1.0
"""After so long the edge has noticed that an instance came, or that it no longer wants requests: it asks
twice a second. Who replaces an instance waits this long between the steps."""

REPLAY_BYTES = 1024 * 1024
"""Bodies up to this size stay in memory until an instance has answered, so that they can be sent again."""

_REPLAYABLE_LENGTH = "^[0-9]{1,6}$"
"""Content-Length below one million: surely within REPLAY_BYTES. A longer or chunked body was not kept whole,
and a retry would send the rest of it as if it were all."""

_DROPPED_RESPONSE_HEADERS = [
    "alt-svc",
    "server",
    "strict-transport-security",
    "x-content-type-options",
    "x-powered-by",
    "x-request-id",
    "x-troth-*",
]
"""What an instance may not say to a client: these are the edge's to say, or nobody's."""

_UPGRADE_HEADERS = ["Connection", "Upgrade", "Sec-Websocket-*"]

PASSED = PASSED_HEADER.decode().title()

APP_HEADER = "X-Troth-App"
"""In the session's answer: which application is behind the domain."""

_FROM_SESSION = {
    "Authorization": ("X-Troth-Access-Token", "Bearer "),
    "X-Troth-Brand-Name": ("X-Troth-Domain-Name", ""),
    "X-Troth-Brand-Colour": ("X-Troth-Colour", ""),
    "X-Troth-Person": ("X-Troth-Person", ""),
    "X-Troth-Session": ("X-Troth-Session", ""),
    "X-Troth-Tenant": ("X-Troth-Tenant", ""),
}
"""What the application gets, from which header of the session's answer, and what is put before it."""


def pass_to_web(state: EdgeState) -> Json:
    """To an instance of Troth's own web service. An answer of it that says its length is there as a whole;
    one that does not goes on as it comes, and no clock is needed for it."""
    handler = _proxy(state, WEB, state.web, wait_seconds=20)
    del handler["flush_interval"]
    return handler


def pass_endings(state: EdgeState) -> Json:
    """To the web service, an answer without end: each line goes on at once."""
    return {**pass_to_web(state), "flush_interval": -1}


def pass_to_app(state: EdgeState, app: EdgeApp) -> Json:
    """To an instance of a customer's application, whose own session cookie can only be a forgery."""
    handler = _proxy(state, app.name, app.instances, wait_seconds=60)
    handler["headers"]["response"]["replace"] = {
        # Session fixation: an application that sets our cookie would sign its visitors in as somebody else.
        # An empty Set-Cookie is ignored by every browser (RFC 6265, section 5.2).
        "Set-Cookie": [
            {
                "search_regexp": r"(?i)^[\s=]*__Host-(?:troth|device|pending|language)\s*(=.*|;.*)?$",
                "replace": "",
            }
        ]
    }
    return handler


def ask_session(state: EdgeState, *wanted: str) -> Json:
    """Ask the web service whose session this is, before the application sees anything.

    An answer of 2xx goes on to the next handler with what the session grants; any other is the client's
    answer. The question carries the request's headers but never its body, and is never a WebSocket. Headers
    of the answer that are `wanted` beside those become headers of the request.
    """
    handler = _proxy(state, WEB, state.web, wait_seconds=20)
    handler["rewrite"] = {"method": "GET", "uri": "/internal/forward"}
    request = handler["headers"]["request"]
    request["set"]["X-Forwarded-Method"] = ["{http.request.method}"]
    request["set"]["X-Forwarded-Uri"] = ["{http.request.uri}"]
    request["delete"] = [*_UPGRADE_HEADERS, "Content-Length", "Content-Type", "Expect", "Range", "If-*"]
    given = {**_FROM_SESSION, **{name: (name, "") for name in wanted}}
    granted = {"match": {"status_code": [2]}, "routes": [_grant(name, *given[name]) for name in given]}
    handler["handle_response"] = [granted]
    return handler


def ask_known(state: EdgeState, host: str, then: list[Json], otherwise: list[Json]) -> Json:
    """Ask the web service whether it serves `host` (placeholders are filled in), and go on accordingly."""
    handler = _proxy(state, WEB, state.web, wait_seconds=5)
    handler["rewrite"] = {"method": "GET", "uri": "/internal/known?"}
    request = handler["headers"]["request"]
    request["set"]["Host"] = [host]
    request["delete"] = [*_UPGRADE_HEADERS, "Content-*", "Cookie", "Authorization", "Expect", "Range", "If-*"]
    handler["handle_response"] = [
        {"match": {"status_code": [204]}, "routes": [{"handle": then}]},
        {"routes": [{"handle": otherwise}]},
    ]
    return handler


def _grant(name: str, source: str, prefix: str) -> Json:
    """Give the application one header, if the session's answer had it."""
    placeholder = f"{{http.reverse_proxy.header.{source}}}"
    return {
        "match": [{"not": [{"vars": {placeholder: [""]}}]}],
        "handle": [{"handler": "headers", "request": {"set": {name: [prefix + placeholder]}}}],
    }


def _proxy(state: EdgeState, service: str, instances: tuple[Endpoint, ...], *, wait_seconds: int) -> Json:
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": str(instance)} for instance in instances],
        "transport": _transport(state, service, wait_seconds),
        "load_balancing": _balancing(),
        "health_checks": _health(),
        "request_buffers": REPLAY_BYTES,
        "flush_interval": "50ms",
        "stream_timeout": "1h",
        "stream_close_delay": "5m",
        "headers": {
            # Caddy would put the instance's address here; cookies and issuers depend on the client's domain.
            # The time is that of each attempt: an instance tells by it how long a request waited there.
            "request": {"set": {"Host": ["{http.request.hostport}"], PASSED: ["{time.now.unix_ms}"]}},
            "response": {"delete": list(_DROPPED_RESPONSE_HEADERS)},
        },
    }


def _transport(state: EdgeState, service: str, wait_seconds: int) -> Json:
    """HTTP/1.1 over TLS 1.3 with the edge's certificate, to an instance that proves which service it is."""
    return {
        "protocol": "http",
        "versions": ["1.1"],
        "dial_timeout": "1s",
        "response_header_timeout": f"{wait_seconds}s",
        "max_response_header_size": 64 * 1024,
        "keep_alive": {"enabled": True, "max_idle_conns_per_host": 64, "idle_timeout": "20s"},
        "compression": False,
        "tls": {
            "ca": {"provider": "file", "pem_files": [str(state.instances_ca)]},
            "client_certificate_file": str(state.client.certificate),
            "client_certificate_key_file": str(state.client.key),
            "server_name": service_name(service),
            "handshake_timeout": "2s",
        },
    }


def _balancing() -> Json:
    """The instance with the fewest requests; again within five seconds where repeating is harmless: an
    instance that hangs is ended after two (`hosting/judging.py`), and what it was given is tried elsewhere.

    A request that never reached an instance is always tried again. One that did is repeated only when its
    method is idempotent (RFC 9110, section 9.2.2) or its sender marked it so with an Idempotency-Key.
    """
    bodiless = {"method": ["GET", "HEAD", "OPTIONS"], "not": [{"header": {"Content-Length": ["*"]}}]}
    short = {"header_regexp": {"Content-Length": {"pattern": _REPLAYABLE_LENGTH}}}
    return {
        "selection_policy": {"policy": "least_conn"},
        "try_duration": "5s",
        "try_interval": "50ms",
        "retry_match": [
            bodiless,
            {"method": ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"], **short},
            {"method": ["POST"], "header": {"Idempotency-Key": ["*"]}, **short},
        ],
    }


def _health() -> Json:
    """Each place is asked twice a second, and used while it answers and is not held back. What answers is not
    its event loop: that is the keeper's to judge, who holds back one that hangs, and never all of them.

    There is no passive check, though it would see a death sooner: Caddy counts every failed exchange, also
    one that the client spoiled. A body with one bad chunk, a hundred bytes, would take an instance away from
    everybody else. Until the next question, a request to a dead instance is refused at once and tried again.
    """
    return {
        "active": {
            "uri": READY_PATH,
            "interval": "500ms",
            "timeout": "2s",
            "passes": 1,
            "fails": 1,
            "expect_status": 200,
            "expect_body": NOT_HELD,
        }
    }
