"""A small file between the keeper and one instance: the instance tells how it goes, the keeper whether the
edge may send it requests.

The file is read with pread(2) and never mapped: an instance that cuts its file short must not end the keeper
(SIGBUS), and what stands in it is the instance's own word, so that nothing but the instance's own fate is
decided by it.

The edge is shown the same file when it asks whether it may send requests, by the server's own threads: it
gets the keeper's order also from an instance whose event loop does not turn.
"""

import contextlib
import os
import struct
import time
from pathlib import Path
from typing import Literal

import msgspec

Order = Literal["serve", "hold"]

SIZE = 128
BEAT_SECONDS = 0.1
"""Between two turns of the instance's event loop that are told."""

HELD = b"\x01"
"""The first byte of the file, while the edge is to send nothing; else it is zero."""

_TOLD = struct.Struct("<8xQdQQQQIIdIIQ")
_MAGIC = 0x74726F7468707531


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """What an instance last told. Times are of CLOCK_MONOTONIC, which all processes of a machine share.

    `lag` is by how many seconds the event loop last came too late to its turn; `served`, `failed` (answers of
    5xx) and `raised` (exceptions that nobody caught) count since its start, `in_flight` what it works on now.
    `waiting` of these have no answer yet; `standing` are streams whose answer has begun, those without end
    too. `refused` counts what was shed, which is not among `served`.
    """

    pid: int
    at: float
    lag: float
    beats: int
    served: int
    failed: int
    raised: int
    in_flight: int
    waiting: int = 0
    standing: int = 0
    refused: int = 0


class PulseFile:
    """The keeper's end. Makes the file, holding nothing back, unless an instance tells in it already."""

    def __init__(self, path: Path, *, told: bool = False) -> None:
        self.path = path
        renew = 0 if told else os.O_TRUNC
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | renew | os.O_CLOEXEC, 0o600)
        if not told:
            os.pwrite(self._descriptor, bytes(SIZE), 0)

    def order(self, order: Order) -> None:
        """Whether the edge may send it requests; it hears within half a second, at its next question."""
        os.pwrite(self._descriptor, HELD if order == "hold" else bytes(1), 0)

    def read(self) -> Pulse | None:
        """What it last told; None before it told anything, and when the file holds something else."""
        return unpack(os.pread(self._descriptor, SIZE, 0))

    def close(self) -> None:
        """Give the descriptor back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Teller:
    """The instance's end."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._beats = 0

    def hold(self) -> None:
        """It leaves: whoever asks is to send no more."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, HELD, 0)

    def tell(
        self,
        *,
        lag: float,
        served: int,
        failed: int,
        raised: int,
        in_flight: int,
        waiting: int = 0,
        standing: int = 0,
        refused: int = 0,
    ) -> None:
        """One turn of the event loop."""
        self._beats += 1
        told = pack(
            Pulse(
                pid=os.getpid(),
                at=time.monotonic(),
                lag=lag,
                beats=self._beats,
                served=served,
                failed=failed,
                raised=raised,
                in_flight=in_flight,
                waiting=waiting,
                standing=standing,
                refused=refused,
            )
        )
        with contextlib.suppress(OSError):  # a full disk must not end an instance: its silence is noticed
            os.pwrite(self._descriptor, told[8:], 8)


def pack(pulse: Pulse) -> bytes:
    """The bytes of the file, but for the order that stands at its beginning."""
    return _TOLD.pack(
        _MAGIC,
        pulse.at,
        pulse.beats,
        pulse.served,
        pulse.failed,
        pulse.raised,
        pulse.in_flight,
        pulse.pid,
        pulse.lag,
        pulse.waiting,
        pulse.standing,
        pulse.refused,
    )


def unpack(content: bytes) -> Pulse | None:
    """What the file says; None when it says nothing, or is no such file."""
    if len(content) < _TOLD.size:
        return None
    magic, at, beats, served, failed, raised, in_flight, pid, lag, *load = _TOLD.unpack_from(content)
    waiting, standing, refused = load
    if magic != _MAGIC or not (0 <= lag < float("inf") and 0 <= at < float("inf")):
        return None
    return Pulse(
        pid=pid,
        at=at,
        lag=lag,
        beats=beats,
        served=served,
        failed=failed,
        raised=raised,
        in_flight=in_flight,
        waiting=waiting,
        standing=standing,
        refused=refused,
    )
