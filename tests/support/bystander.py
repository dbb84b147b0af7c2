"""A process on a host of `support.firewalled`: does what it is told, one JSON object a line."""

import json
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SECONDS = 2.0
"""After so long a host is silent; one that answers does so within a millisecond."""

_HELD: list[socket.socket] = []


class Bystander:
    """What any host can do."""

    def listen(self, *ports: int, address: str = "0.0.0.0") -> None:  # noqa: S104 - that is the point
        _HELD.extend(socket.create_server((address, port), backlog=64) for port in ports)

    def connect(self, address: str, *ports: int) -> list[str]:
        """For each port `connected`, `silence`, or what went wrong."""
        with ThreadPoolExecutor() as pool:
            calls = [pool.submit(_connect, address, port) for port in ports]
            return [call.result() for call in calls]

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


def _connect(address: str, port: int) -> str:
    try:
        socket.create_connection((address, port), timeout=SECONDS).close()
    except TimeoutError:
        return "silence"
    except OSError as error:
        return str(error.strerror)
    return "connected"


if __name__ == "__main__":
    serve(Bystander(), complaints=OSError)
