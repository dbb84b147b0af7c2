"""PostgreSQL's `restore_command`: asks the resident that holds the write-ahead log for one file of it.

    wal_client.py SOCKET FILE PLACE

Standard library only and started with `python -I -S`: it runs once for every 16 MiB. It leaves with 0 once
the file lies at PLACE, with 1 when the log ends before it, and with 126 for everything else: above 125
PostgreSQL gives the recovery up, while 1 means to it that here is the end (`wait_result_is_any_signal`). An
error taken for the end would be a restore that silently lacks the last writes.
"""

import _socket
import sys

HERE, NONE = b"here\n", b"none\n"
FAILED = 126

_STATUS = {HERE: 0, NONE: 1}


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    path, name, place = arguments
    try:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(path)
        connection.sendall(f"{name} {place}\n".encode())
        answer = b""
        while piece := connection.recv(64):  # a resident that dies closes it: nothing waits for ever
            answer += piece
    except OSError:
        return FAILED
    return _STATUS.get(answer, FAILED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
