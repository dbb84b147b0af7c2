"""How long to wait before a process that ended is started again; pure."""

from collections.abc import Callable

import msgspec


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. The wait doubles from `first` to `longest` with each failure; `steady` seconds of life forget
    the failures before. `jitter` is the share of the wait that is random, so that instances which died
    together do not come back together."""

    first: float = 0.2
    longest: float = 30.0
    steady: float = 60.0
    jitter: float = 0.3


def failures_after(restart: Restart, failures: int, uptime: float) -> int:
    """How many failures in a row there are, now that a process ended after `uptime` seconds."""
    return 1 if uptime >= restart.steady else failures + 1


def delay(restart: Restart, failures: int, random: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row; `random` returns a number in [0, 1)."""
    whole = min(restart.longest, restart.first * 2.0 ** min(failures - 1, 30))
    return whole * (1 - restart.jitter * random())
