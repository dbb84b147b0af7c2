"""The edge's way in. Standard library only: started with `python -I -S` in place of the edge.

    door.py PUBLIC EDGE ADDRESS HTTPS HTTP COMMAND …

It opens the edge's three public sockets in the network PUBLIC: HTTPS on TCP, HTTPS on UDP and HTTP on TCP.
Then it moves to the network EDGE and executes COMMAND, which finds them as descriptors 3, 4 and 5.
"""

import ctypes
import os
import socket
import sys

FIRST = 3
"""The descriptor of the first of the three."""

_CLONE_NEWNET = 0x40000000
_ANY = ("0.0.0.0", "::")  # noqa: S104 - compared


def main(public: str, edge: str, address: str, https: int, http: int, command: list[str]) -> None:
    """Does not return. Raises OSError when a port is not to be had."""
    _enter(public)
    sockets = (
        _open(address, https, socket.SOCK_STREAM),
        _open(address, https, socket.SOCK_DGRAM),
        _open(address, http, socket.SOCK_STREAM),
    )
    _enter(edge)
    # First out of the way: one of them may have a number that another is to get.
    high = [os.dup2(one.fileno(), 100 + number, inheritable=False) for number, one in enumerate(sockets)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, FIRST + number, inheritable=True)
    os.execvp(command[0], command)  # noqa: S606


def _open(address: str, port: int, kind: int) -> socket.socket:
    """What the edge itself would open: every address means both kinds of them, where there are both."""
    wide = address in _ANY and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if wide or ":" in address else socket.AF_INET
    opened = socket.socket(family, kind)
    if wide:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == socket.SOCK_STREAM:
        # Connections of a former run that linger in TIME_WAIT are no listener.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("::" if wide else address, port))
    if kind == socket.SOCK_STREAM:
        opened.listen(socket.SOMAXCONN)
    return opened


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), sys.argv[6:])
