"""Many connections over which one request is made, and then nothing: `python -m support.idle_connections
PORT NAME CA COUNT`.

A process of its own, for what it holds is not to be counted as its parent's. Prints as JSON how many stand
and why the others do not, waits for a line, and prints how many the other side has ended since.
"""

import contextlib
import json
import resource
import select
import socket
import ssl
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

_AT_ONCE = 16


def open_one(port: int, name: str, context: ssl.SSLContext) -> ssl.SSLSocket | str:
    """Past its first answer, or why there is none."""
    try:
        bare = socket.create_connection(("127.0.0.1", port), timeout=30)
        secured = context.wrap_socket(bare, server_hostname=name)
        secured.sendall(f"GET /api/v1/idle HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answer = secured.recv(4096)
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
    return secured if answer.startswith(b"HTTP/1.1 ") else repr(answer[:20])


def has_ended(one: ssl.SSLSocket) -> bool:
    """Whether the other side has hung up."""
    one.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        while one.recv(4096):
            pass
        return True
    return False


def main(port: int, name: str, authority: str, count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.create_default_context(cafile=authority)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tried = [pool.submit(open_one, port, name, context) for _ in range(count)]
        results = [call.result() for call in tried]
    held = [one for one in results if not isinstance(one, str)]
    reasons = Counter(one for one in results if isinstance(one, str))
    print(json.dumps({"standing": len(held), "reasons": reasons}), flush=True)  # noqa: T201 - read by the test
    select.select([sys.stdin], [], [], 300)
    print(sum(map(has_ended, held)), flush=True)  # noqa: T201 - read by the test


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
