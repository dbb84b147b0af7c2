"""The edge's own spans, read from its access log: it tells when a request came, how long it took and what
came of it. The log is followed and never waited for; what is too far behind is passed over and counted."""

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from troth.core.tracing import Context, Span, is_chosen, read_traceparent, route_of
from troth.hosting.edge_trace import PARENT

READ_BYTES = 1 << 20
BEHIND_BYTES = 8 << 20

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


class Follower:
    """Lines of a file as they are added, through its rolling; the beginning is the end of what is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._rest = b""
        self.passed_over = 0

    def lines(self) -> Iterator[bytes]:
        """What was written since, at most `READ_BYTES` of it."""
        if self._descriptor is None:
            self._open(at_its_end=True)
        descriptor = self._descriptor
        if descriptor is None:
            return
        yield from self._take(descriptor)
        if self._rolled(descriptor):
            yield from self._take(descriptor)
            self.close()
            self._open(at_its_end=False)

    def close(self) -> None:
        """Follow no more."""
        descriptor, self._descriptor, self._rest = self._descriptor, None, b""
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, *, at_its_end: bool) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            if at_its_end:
                os.lseek(self._descriptor, 0, os.SEEK_END)

    def _rolled(self, descriptor: int) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False

    def _take(self, descriptor: int) -> Iterator[bytes]:
        behind = os.fstat(descriptor).st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
        if behind > BEHIND_BYTES:
            os.lseek(descriptor, behind - READ_BYTES, os.SEEK_CUR)
            self._rest = b""
            self.passed_over += behind - READ_BYTES
        whole, _, self._rest = (self._rest + os.read(descriptor, READ_BYTES)).rpartition(b"\n")
        if len(self._rest) > READ_BYTES:
            self._rest = b""
        yield from whole.split(b"\n") if whole else ()
