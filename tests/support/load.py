"""A bounded load on the platform, and what became of every single request."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import uuid4

import httpx

from support.person import Person, ticket

READERS, WRITERS = 6, 2


class Tally:
    """Every answer, every failure, and when the last writes were acknowledged."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self.acknowledged: dict[str, str] = {}
        """Title → the identifier that the platform gave it."""
        self.gap = 0.0
        """The longest time between two acknowledged writes, in seconds."""
        self._last = time.monotonic()

    async def total(self) -> int:
        """How many answers have come so far."""
        return self.statuses.total()

    def count(self, answer: httpx.Response) -> None:
        """Take an answer in."""
        self.statuses[answer.status_code] += 1
        if answer.status_code >= 400:
            self.failures.append(f"{answer.request.method} {answer.status_code} {answer.text[:200]}")

    def acknowledge(self, title: str, answer: httpx.Response) -> None:
        """A write was answered 201."""
        now = time.monotonic()
        self.gap, self._last = max(self.gap, now - self._last), now
        self.acknowledged[title] = answer.json()["_meta"]["id"]


async def read(person: Person, tally: Tally, times: int) -> None:
    """Read the list so many times; nothing is tried again."""
    for _ in range(times):
        await _attempt(tally, lambda: person.call("GET", "tickets?limit=5"))


async def write(person: Person, tally: Tally, titles: list[str]) -> None:
    """File one ticket for each title, each with a key of its own; nothing is tried again."""
    for title in titles:
        answer = await _attempt(
            tally, lambda title=title: person.call("POST", "tickets", json=ticket(title), key=title)
        )
        if answer is not None and answer.status_code == 201:
            tally.acknowledge(title, answer)


async def bombard(person: Person, tally: Tally, *, reads: int, writes: int) -> list[str]:
    """`reads` and `writes` at a concurrency of 8; returns the titles that were sent."""
    titles = new_titles(writes)
    await asyncio.gather(
        *(read(person, tally, reads // READERS) for _ in range(READERS)),
        *(write(person, tally, titles[number::WRITERS]) for number in range(WRITERS)),
    )
    return titles


class Writer:
    """Files tickets one after the other until told to stop.

    What fails is sent again under the same key, as a program should that wants it stored once: an answer that
    did not come says nothing about what was stored.
    """

    def __init__(self, person: Person, tally: Tally) -> None:
        self._person, self.tally = person, tally
        self.stop = asyncio.Event()
        self.sent: list[str] = []
        self._progress = asyncio.Condition()

    async def run(self) -> None:
        while not self.stop.is_set():
            (title,) = new_titles(1)
            self.sent.append(title)
            await self._file(title)
            async with self._progress:
                self._progress.notify_all()

    async def wrote(self, more: int, *, seconds: float) -> None:
        """Wait until so many more writes have been acknowledged."""
        wanted = len(self.tally.acknowledged) + more
        async with asyncio.timeout(seconds), self._progress:
            await self._progress.wait_for(lambda: len(self.tally.acknowledged) >= wanted)

    async def _file(self, title: str) -> None:
        while True:
            try:
                answer = await self._person.call("POST", "tickets", json=ticket(title), key=title)
            except httpx.HTTPError as error:
                self.tally.failures.append(repr(error))
                continue
            self.tally.count(answer)
            if answer.status_code == 201:
                self.tally.acknowledge(title, answer)
                return
            if answer.status_code == 401:
                await self._person.renew()
            await asyncio.sleep(float(answer.headers.get("retry-after", "0.1")))


def new_titles(count: int) -> list[str]:
    """So many titles that are also Idempotency-Keys, unlike any other."""
    return [f"load-{uuid4()}" for _ in range(count)]


async def stored(manager: Person, titles: list[str]) -> Counter[str]:
    """How often each of these titles is stored, as somebody sees it who may see every ticket of the house."""
    wanted = set(titles)
    documents = await manager.all("tickets")
    return Counter(str(one["title"]) for one in documents if one["title"] in wanted)


async def _attempt(tally: Tally, send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response | None:
    try:
        answer = await send()
    except httpx.HTTPError as error:
        tally.failures.append(repr(error))
        return None
    tally.count(answer)
    return answer
