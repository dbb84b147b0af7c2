"""Tries TCP ports from the network that it is started in. Standard library only: `python -I -S`.

    knocking.py       standard output: `ready`
                      standard input: a line `SECONDS ADDRESS PORT ADDRESS PORT …`
                      standard output: a line `ADDRESS PORT` for each that took the connection, then `done`

All are tried side by side. Nothing is said to whoever answers. It ends when its standard input does.
"""

import os
import select
import socket
import sys
import time

_AT_ONCE = 200


def main() -> int:
    """0 at the end of standard input."""
    os.write(1, b"ready\n")
    for line in sys.stdin:
        seconds, *words = line.split()
        places = list(zip(words[::2], map(int, words[1::2]), strict=True))
        for start in range(0, len(places), _AT_ONCE):
            for address, port in knock(places[start : start + _AT_ONCE], float(seconds)):
                os.write(1, f"{address} {port}\n".encode())
        os.write(1, b"done\n")
    return 0


def knock(places: list[tuple[str, int]], seconds: float) -> list[tuple[str, int]]:
    """Those that took a connection within so many seconds."""
    waiting: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
    poll = select.poll()
    for place in places:
        tried = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET)
        tried.setblocking(False)
        waiting[tried.fileno()] = (tried, place)
        tried.connect_ex(place)
        poll.register(tried, select.POLLOUT)
    found: list[tuple[str, int]] = []
    end = time.monotonic() + seconds
    while waiting and (left := end - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            tried, place = waiting.pop(descriptor)
            poll.unregister(descriptor)
            if tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and _is_connected(tried):
                found.append(place)
            tried.close()
    for tried, _ in waiting.values():
        tried.close()
    return found


def _is_connected(tried: socket.socket) -> bool:
    """A connection that was refused at once has told its error already (`connect_ex`)."""
    try:
        tried.getpeername()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
