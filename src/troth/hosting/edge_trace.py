"""Where a trace begins: the edge names it after the request, and goes on with one of an application's own.

What a client says of a trace is dropped: it could name the trace of somebody else, and have everything
recorded (W3C Trace Context, section 7.2). Caddy has a handler for traces of its own; it reads certificates
and headers for the collector once, from its environment, where no secret of ours belongs. So the edge's own
span is made from its access log (`hosting/tracing/edge_spans.py`), which tells the same.
"""

from typing import Any

from troth.core.tracing import STEPS

Json = dict[str, Any]

UNTRUSTED = ["traceparent", "tracestate", "baggage"]
"""Dropped wherever they come from."""

PARENT = "troth_parent"
"""The variable, and the key of the log, with what an application said."""

_SAID = "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$"
_NUMBER = "{http.request.uuid}"
_FOR_OURS = {
    "search_regexp": "^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$",
    "replace": "00-${1}${2}${3}${4}${5}-${4}${5}-01",
}
_FOR_THEIRS = {
    "search_regexp": "^00-([0-9a-f]{32})-[0-9a-f]{16}-01/[0-9a-f-]{19}([0-9a-f]{4})-([0-9a-f]{12})$",
    "replace": "00-${1}-${2}${3}-01",
}


def begin_trace(steps: int) -> list[Json]:
    """For requests of the public, of which so many parts of `STEPS` are traced: after their headers were
    cleaned."""
    if not steps:
        return []
    chosen = {"vars_regexp": {_NUMBER: {"pattern": chosen_pattern(steps)}}}
    return [_when(chosen, _rewrite(_NUMBER, _FOR_OURS))]


def hear_trace(steps: int) -> list[Json]:
    """For requests of applications: before their headers are cleaned."""
    if not steps:
        return []
    said = {"header_regexp": {"Traceparent": {"pattern": _SAID}}}
    return [_when(said, {"handler": "vars", PARENT: "{http.request.header.Traceparent}"})]


def go_on_with_trace(steps: int) -> list[Json]:
    """For requests of applications: afterwards."""
    if not steps:
        return []
    said = {"vars_regexp": {f"{{http.vars.{PARENT}}}": {"pattern": _SAID}}}
    return [
        _when(said, _rewrite(f"{{http.vars.{PARENT}}}/{_NUMBER}", _FOR_THEIRS)),
        {"handler": "log_append", "key": PARENT, "value": f"{{http.vars.{PARENT}}}"},
    ]


def chosen_pattern(steps: int) -> str:
    """Pure: what the beginnings of the chosen numbers look like: three hexadecimal digits below `steps`."""
    if steps >= STEPS:
        return "^"
    first, second, third = f"{steps:03x}"
    ways = (_below(first) + "..", first + _below(second) + ".", first + second + _below(third))
    return f"^(?:{'|'.join(way for way in ways if '[]' not in way)})"


def _below(digit: str) -> str:
    return f"[{'0123456789abcdef'[: int(digit, 16)]}]"


def _rewrite(value: str, replace: Json) -> Json:
    request = {"set": {"Traceparent": [value]}, "replace": {"Traceparent": [replace]}}
    return {"handler": "headers", "request": request}


def _when(match: Json, handler: Json) -> Json:
    return {"handler": "subroute", "routes": [{"match": [match], "handle": [handler]}]}
