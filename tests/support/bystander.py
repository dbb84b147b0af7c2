"""A process on a host of `support.firewalled`: does what it is told, one JSON object a line."""

import json
import socket
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SECONDS = 2.0
"""After so long a host is silent; one that answers does so within a millisecond."""

_HELD: list[socket.socket] = []
_OPEN: list[socket.socket] = []
_RESET = struct.pack("ii", 1, 0)
"""Closing is at once and on both sides, whether or not anybody has accepted the connection (socket(7))."""


class Bystander:
    """What any host can do."""

    def listen(self, *ports: int, address: str = "0.0.0.0") -> None:  # noqa: S104 - that is the point
        _HELD.extend(socket.create_server((address, port), backlog=64) for port in ports)

    def connect(self, address: str, *ports: int) -> list[str]:
        """For each port `connected`, `silence`, or what went wrong."""
        with ThreadPoolExecutor() as pool:
            calls = [pool.submit(_connect, address, port) for port in ports]
            return [call.result() for call in calls]

    def hold(self, address: str, port: int, count: int) -> list[str]:
        """Connections that stay open until `let_go`, one after the other, and how each went."""
        return [_connect(address, port, _OPEN) for _ in range(count)]

    def let_go(self) -> None:
        while _OPEN:
            _OPEN.pop().close()

    def write(self, file: str, text: str) -> None:
        Path(file).write_text(text)


def serve(host: Bystander, *, complaints: type[Exception]) -> None:
    """Until standard input ends. Of `complaints` the words are told."""
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        work: Callable[..., Any] = getattr(host, asked.pop("do"))
        places = asked.pop("places", [])
        try:
            answer = {"answer": work(*places, **asked)}
        except complaints as error:
            answer = {"error": f"{error} {getattr(error, 'hint', '')}"}
        print(json.dumps(answer), flush=True)  # noqa: T201


def _connect(address: str, port: int, kept: list[socket.socket] | None = None) -> str:
    try:
        made = socket.create_connection((address, port), timeout=SECONDS)
    except TimeoutError:
        return "silence"
    except OSError as error:
        return str(error.strerror)
    if kept is None:
        made.close()
    else:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        kept.append(made)
    return "connected"


if __name__ == "__main__":
    serve(Bystander(), complaints=OSError)
