"""Threads for work that costs a processor: a bounded queue in which whoever is known goes first.

Work runs at a lower priority than the event loop, so that answering requests goes before it, and a flood of
strangers waits behind people who were here before.
"""

import asyncio
import enum
import heapq
import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from troth.core.errors import TooMany

NICENESS = 10
"""Of the threads; whatever answers requests is at 0."""

T = TypeVar("T")


class Turn(enum.IntEnum):
    """Who goes first. A person who was here before is known by device, network or mailed link."""

    KNOWN = 0
    STRANGER = 1
    BACKGROUND = 2


class HashingPool:
    """`threads` work at once and `waiting` more may queue; the next is told to come back.

    A quarter of the queue is kept for people who are known: strangers cannot fill it.
    """

    def __init__(self, *, threads: int, waiting: int) -> None:
        self._limit = threads + waiting
        self._open_to_all = self._limit - waiting // 4
        self._taken = 0
        self._queue: list[tuple[Turn, int, Future[Any], Callable[[], Any]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"troth-passwords-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[], T], turn: Turn) -> T:
        """What `work` returns. Raises TooMany when there is no room for this turn."""
        return await asyncio.wrap_future(self._submit(work, turn))

    def require_room(self, turn: Turn = Turn.STRANGER) -> None:
        """Raises TooMany when there is none: asked before any other work, so that a flood costs only this."""
        with self._changed:
            self._check_room(turn)

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        with self._changed:
            self._closed = True
            for _, _, future, _ in self._queue:
                future.cancel()
            self._queue.clear()
            self._changed.notify_all()

    def _submit(self, work: Callable[[], T], turn: Turn) -> "Future[T]":
        future: Future[T] = Future()
        with self._changed:
            self._check_room(turn)
            self._taken += 1
            heapq.heappush(self._queue, (turn, next(self._order), future, work))
            self._changed.notify()
        return future

    def _check_room(self, turn: Turn) -> None:
        if self._closed or self._taken >= (self._limit if turn is Turn.KNOWN else self._open_to_all):
            raise TooMany("Many people are signing in right now. Try again in a moment.", retry_after=2)

    def _work(self) -> None:
        step_back()
        while (taken := self._next()) is not None:
            future, work = taken
            # What nobody waits for any more is not begun; its place is free at once.
            if future.set_running_or_notify_cancel():
                try:
                    result = work()
                except BaseException as error:  # noqa: BLE001  it is raised again where the caller waits
                    future.set_exception(error)
                else:
                    future.set_result(result)
            # Given back by the work itself: a caller who hangs up must not make room for another too early.
            with self._changed:
                self._taken -= 1

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            _, _, future, work = heapq.heappop(self._queue)
            return future, work


def step_back() -> None:
    """Lower the priority of the calling thread (on Linux, niceness belongs to a thread)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
