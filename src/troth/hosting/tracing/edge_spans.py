"""The edge's own spans, read from its access log: it tells when a request came, how long it took and what
came of it. The log is followed and never waited for; what is too far behind is passed over and counted."""

import contextlib
from datetime import datetime

import msgspec

from troth.core.tracing import Context, Span, is_chosen, read_traceparent, route_of
from troth.hosting.edge_trace import PARENT

_NOT_FOUND = 404
_PRIVATE = "http.log.access.private"


class _Line(msgspec.Struct):
    """`asked` is what `edge_logs` has told: method, host with path, and protocol."""

    ts: str
    uuid: str = ""
    logger: str = ""
    status: int = 0
    duration: float = 0.0
    troth_parent: str = ""
    asked: str = ""


assert PARENT == "troth_parent", "the key of the log"
_decoder = msgspec.json.Decoder(_Line)


def read_line(line: bytes, share: float, own_paths: tuple[str, ...]) -> Span | None:
    """Pure: the span that a line of the access log tells of; None when its request is not traced, or it is no
    such line. Only paths of the platform's own are told."""
    with contextlib.suppress(msgspec.DecodeError, ValueError):
        told = _decoder.decode(line)
        number = told.uuid.replace("-", "")
        bytes.fromhex(number)
        if len(number) != 32:
            return None
        parent = read_traceparent(told.troth_parent)
        if parent is None and (told.logger == _PRIVATE or not is_chosen(number, share)):
            return None
        above = parent[0] if parent is not None else Context(number, "")
        return _span(told, number, above, own_paths)
    return None


def _span(line: _Line, number: str, above: Context, own_paths: tuple[str, ...]) -> Span:
    end = int(datetime.fromisoformat(line.ts).timestamp() * 1e6) * 1000
    method, host, path = _read_asked(line.asked)
    ours = line.status != _NOT_FOUND and any(path == one or path.startswith(f"{one}/") for one in own_paths)
    route = {"http.route": route_of(path)} if ours else {}
    return Span(
        trace=above.trace,
        span=number[16:],
        name=" ".join((method[:16], *route.values())),
        begin=end - int(line.duration * 1e9),
        end=end,
        parent=above.span,
        failed=line.status >= 500,
        attributes={
            "http.request.method": method[:16],
            "http.response.status_code": line.status,
            "server.address": host.partition(":")[0][:255],
            **route,
        },
    )


def _read_asked(asked: str) -> tuple[str, str, str]:
    """Method, host and path of `GET portal.example/a page HTTP/2.0`: a path may have spaces."""
    method, _, rest = asked.partition(" ")
    host, slash, path = rest.rpartition(" ")[0].partition("/")
    return method, host, slash + path
