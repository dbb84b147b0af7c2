"""Takes rules on trial back unless somebody has confirmed them. Standard library only: `python -I -S`.

    reverting.py NFT SECONDS CHAIN     standard input: the transaction that takes them back, and a NUL

It is in a session of its own, so that neither the terminal nor the platform takes it along when they end, and
it counts its own seconds. It ends as soon as somebody else has decided, and in any case a few seconds after
its time: it leaves nothing behind.
"""

import os
import select
import signal
import subprocess
import sys
import time

_ATTEMPTS = 5
_LIMIT_SECONDS = 20


def main(arguments: list[str]) -> int:
    """0 when the rules were taken back or there is nothing to take back, 1 when that was not possible."""
    program, seconds, chain = arguments[0], float(arguments[1]), arguments[2]
    end = time.monotonic() + seconds
    transaction = _read_transaction()
    if os.fork() != 0:
        return 0  # whoever started us waits for this one; the other belongs to nobody
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _say_armed()
    # Open for as long as the rules are being put in force. Closed without that, there is nothing to do.
    select.select([0], [], [], seconds)
    while time.monotonic() < end:
        if not _is_there(program, chain):
            return 0
        time.sleep(max(0.0, min(0.5, end - time.monotonic())))
    for attempt in range(_ATTEMPTS):
        if _nft(program, "-f", "-", told=transaction) or not _is_there(program, chain):
            return 0
        time.sleep(attempt)
    return 1


def _read_transaction() -> bytes:
    """Up to a NUL; standard input stays open."""
    held = b""
    while not held.endswith(b"\0"):
        more = os.read(0, 65_536)
        if not more:
            raise SystemExit(1)
        held += more
    return held[:-1]


def _say_armed() -> None:
    os.write(1, b"armed\n")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _is_there(program: str, chain: str) -> bool:
    return _nft(program, "list", "chain", "inet", "troth", chain)


def _nft(program: str, *words: str, told: bytes = b"") -> bool:
    try:
        done = subprocess.run(
            [program, *words], input=told, capture_output=True, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
