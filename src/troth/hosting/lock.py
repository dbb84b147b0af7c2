"""One platform on one state folder: a flock(2) that is handed down from `troth up` to the keeper.

The lock belongs to the open file, not to a process, so there is no moment in which nobody holds it, and it is
free again exactly when the first process of the platform and the keeper have both ended.
"""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from troth.core.errors import PlatformError
from troth.core.state import State


class AlreadyRunning(PlatformError):
    """Somebody holds the lock: a platform runs, starts or stops on this state folder."""


@contextmanager
def take(state: State) -> Generator[int]:
    """Hold the lock inside the block; yields its descriptor, to be inherited. Raises AlreadyRunning."""
    descriptor = _open(state)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def hold_inherited(descriptor: int) -> Generator[int]:
    """Hold a lock that was handed down, and hand it down no further. Raises AlreadyRunning if it is none."""
    os.set_inheritable(descriptor, False)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(state: State) -> bool:
    """Whether a platform runs, starts or stops on this state folder."""
    try:
        with take(state):
            return False
    except AlreadyRunning:
        return True


def _open(state: State) -> int:
    try:
        return os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise PlatformError(f"The state folder {state.root} cannot be used: {reason}.") from error


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning("Troth runs already on this state folder.", hint="See: troth status") from None


def wait_until_free(state: State, seconds: float) -> bool:
    """Block until nobody holds the lock; False when that takes longer than so many seconds.

    Whoever holds it shows no other sign of its end that every kind of containment has in common, so this asks
    ten times a second.
    """
    end = time.monotonic() + seconds
    while is_held(state):
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True
