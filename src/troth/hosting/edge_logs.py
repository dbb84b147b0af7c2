"""What the edge writes down: a line for each request, and what happens to the edge itself.

Nothing of a request is written but what `told` names: no query (codes, tokens), no header (cookies), no whole
address. Caddy would put the request as a whole into words up to five times, once for each logger that it
makes on the way and for each log, whether or not anything is said: it is left out of every log.
"""

from typing import Any

from troth.hosting.edge_state import EdgeState

Json = dict[str, Any]

_ACCESS = "http.log.access"
"""Stands for the logs of all servers; each name that is compared here is compared for every request."""

_HEALTH_LOG = "http.handlers.reverse_proxy.health_checker.active"
"""Says twice a second that a place without an instance does not answer; the keeper knows who lives."""

_ASKED = "{http.request.method} {http.request.host}{http.request.uri.path} {http.request.proto}"

_ASKED_VARIABLE = "troth_asked"

_TOLD = {
    "remote": "{http.request.remote.host}",
    "asked": _ASKED_VARIABLE,
    "upstream": "{http.reverse_proxy.upstream.hostport}",
}
"""Of each request, besides its answer. Each field is a handler more for every request, so there are few."""


def logs(state: EdgeState) -> Json:
    """Two files, which the edge rolls itself."""
    return {
        "logs": {
            "default": {
                "level": "INFO",
                "writer": _file(str(state.log)),
                "encoder": _discreet_encoder(),
                "exclude": [_ACCESS, _HEALTH_LOG],
            },
            "access": {
                "level": "INFO",
                "writer": _file(str(state.access_log)),
                "encoder": _discreet_encoder(),
                "include": [_ACCESS],
            },
        }
    }


def told() -> list[Json]:
    """The handlers that have a request told."""
    asked = {"handler": "vars", _ASKED_VARIABLE: _ASKED}
    return [asked, *(append(key, placeholder) for key, placeholder in _TOLD.items())]


def append(key: str, placeholder: str) -> Json:
    """Have the access log say what a placeholder or a variable of Caddy's stands for once the request is
    answered."""
    return {"handler": "log_append", "key": key, "value": placeholder}


def _file(name: str) -> Json:
    return {"output": "file", "filename": name, "mode": "0600", "roll_size_mb": 16, "roll_keep": 4}


def _discreet_encoder() -> Json:
    gone = {"filter": "delete"}
    return {
        "format": "filter",
        "wrap": {"format": "json", "time_format": "rfc3339_nano"},
        "fields": {
            "request": gone,
            "resp_headers": gone,
            "remote": {"filter": "ip_mask", "ipv4_cidr": 24, "ipv6_cidr": 48},
        },
    }
