"""What a client that nobody knows can make the edge hold, and for how long."""

from typing import Any

import msgspec

Json = dict[str, Any]

_SHORT_LENGTH = "^[0-9]{1,5}$"
"""Content-Length below 100,000: Go's server reads so much of a body that nobody wanted, up to 256 KiB."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one connection, in seconds, bytes, and bytes per second.

    `header`: for the handshake, and for the head of a request. `pause`: the longest between two pieces of a
    body. `rate`: what a body has to come with on the average, `pause` granted once on top; half a kilobyte a
    second is below any telephone. `deaf`: for how long a client may take nothing of its answer. `idle`:
    between two requests of one connection.
    """

    header: float = 10.0
    header_bytes: int = 32 * 1024
    pause: float = 15.0
    rate: int = 500
    deaf: float = 30.0
    idle: float = 120.0


def bounds(limits: Limits) -> Json:
    """The same for every server. A stream of an hour is kept: of an answer, only one write is timed."""
    return {
        "max_header_bytes": limits.header_bytes,
        "read_header_timeout": _duration(limits.header),
        "read_idle_timeout": _duration(limits.pause),
        "read_min_rate": limits.rate,
        "write_idle_timeout": _duration(limits.deaf),
        "idle_timeout": _duration(limits.idle),
    }


def end_after_long_bodies() -> Json:
    """A route: a connection of HTTP/1 whose request has a long body, or one of unknown length, is ended by
    its answer.

    Request smuggling: where a body is refused half-way, for its length or by an early answer of an instance,
    Caddy 2.11 keeps the connection and reads the rest of the body as the next request. In HTTP/2 and 3
    nothing follows a body on its stream, and ending would take the other streams along.
    """
    short = {"header_regexp": {"Content-Length": {"pattern": _SHORT_LENGTH}}}
    long: Json = {"header": {"Content-Length": ["*"]}, "not": [short]}
    unknown: Json = {"header": {"Transfer-Encoding": ["*"]}}
    later = {"protocol": "http/2+"}
    matches = [{**body, "not": [*body.get("not", []), later]} for body in (long, unknown)]
    ended = {"handler": "headers", "response": {"set": {"Connection": ["close"]}}}
    return {"match": matches, "handle": [ended]}


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
