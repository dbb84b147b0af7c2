"""Makes the platform's networks and becomes its first process. Standard library only: `python -I -S`.

    entering.py FOLDER COMMAND …

FOLDER holds the empty files `public`, `edge` and `private`. Each becomes a name of a network, in this
process's own mount namespace: the network that it is started in, a new one for the edge, and one for the
private side, where it executes COMMAND. All three are gone with the last process in the namespaces.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys

_CLONE_NEWNET = 0x40000000
_MS_BIND = 4096
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 1
_OWN = "/proc/self/ns/net"


def main(folder: str, command: list[str]) -> None:
    """Does not return."""
    libc = ctypes.CDLL(None, use_errno=True)
    _bind(libc, f"{folder}/public")
    _leave(libc)
    _bind(libc, f"{folder}/edge")
    _leave(libc)
    _bind(libc, f"{folder}/private")
    os.execvp(command[0], command)  # noqa: S606


def _bind(libc: ctypes.CDLL, target: str) -> None:
    if libc.mount(_OWN.encode(), os.fsencode(target), None, _MS_BIND, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def _leave(libc: ctypes.CDLL) -> None:
    """A new network, whose loopback is up."""
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(asked, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(asked, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
