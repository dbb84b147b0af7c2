"""What an instance refuses when too much comes: fairly, at once, and with a time to come again."""

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from support.waiting import until
from troth.hosting.pulse import Pulse, PulseFile, Teller
from troth.hosting.runner import Gate
from troth.hosting.shedding import LATE_SECONDS, Latecomers, Places, party_of, waited
from troth.hosting.streams import Message, Receive, Send


def fill(places: Places, party: str, tries: int) -> int:
    """How many of so many requests in a row were taken."""
    return sum(places.take(party) for _ in range(tries))


def test_one_party_alone_gets_most_places_but_never_all() -> None:
    assert fill(Places(128), "flood", 1000) == 96


def test_a_flood_of_one_leaves_places_for_whoever_else_comes() -> None:
    places = Places(128)
    fill(places, "flood", 1000)
    assert fill(places, "quiet", 20) == 20
    assert fill(places, "other", 10) == 10


def test_in_the_end_two_that_want_all_have_about_half_each() -> None:
    places = Places(128)
    held = {"first": fill(places, "first", 1000), "second": 0}
    for _ in range(2000):  # an answer begins, and both ask again at once
        leaver = max(held, key=lambda one: held[one])
        places.give_back(leaver)
        held[leaver] -= 1
        for party in held:
            held[party] += fill(places, party, 3)
    assert places.waiting == sum(held.values()) <= 128
    assert abs(held["first"] - held["second"]) <= 20


def test_many_parties_each_find_a_place_and_the_bound_holds() -> None:
    places = Places(128)
    fill(places, "flood", 1000)
    taken = [fill(places, f"party-{number}", 5) for number in range(200)]
    assert places.waiting <= 128
    assert taken[:6] == [5] * 6


def come(latecomers: Latecomers, party: str, tries: int, *, late: float = 3.0, now: float = 100.0) -> int:
    """How many of so many requests in a row were admitted, each after waiting for so long."""
    return sum(latecomers.admit(party, late, now) for _ in range(tries))


def test_of_a_flood_that_waited_in_the_server_few_are_served_late() -> None:
    assert come(Latecomers(64), "flood", 1000) == 64


def test_whoever_did_not_make_the_queue_is_served_late() -> None:
    latecomers = Latecomers(64)
    come(latecomers, "flood", 1000)
    assert come(latecomers, "quiet", 20) == 20


def test_who_is_on_time_is_never_refused_as_late() -> None:
    latecomers = Latecomers(64)
    come(latecomers, "flood", 1000)
    assert come(latecomers, "flood", 100, late=LATE_SECONDS) == 100


def test_late_ones_are_forgotten_after_a_moment() -> None:
    latecomers = Latecomers(64)
    come(latecomers, "flood", 1000)
    assert come(latecomers, "flood", 1000, now=100.0 + LATE_SECONDS) == 64


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_was_set_makes_nobody_late(jump: float) -> None:
    assert come(Latecomers(64), "one", 1000, late=jump) == 1000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([(b"x-troth-passed", b"1700000000500")], 1.5),
        ([], 0.0),
        ([(b"x-troth-passed", b"soon")], 0.0),
        ([(b"x-troth-passed", b"-1")], 0.0),
        ([(b"x-troth-passed", b"9" * 400)], 0.0),
    ],
)
def test_how_long_a_request_waited_is_told_by_the_edges_stamp(
    headers: list[tuple[bytes, bytes]], seconds: float
) -> None:
    assert waited({"type": "http", "headers": headers}, 1_700_000_002.0) == seconds


def test_what_is_given_back_is_forgotten() -> None:
    places = Places(4)
    assert fill(places, "one", 3) == 3
    for _ in range(3):
        places.give_back("one")
    assert places.waiting == 0
    assert places._taken == {}  # pyright: ignore[reportPrivateUsage] - no table may grow


@pytest.mark.parametrize(
    "host, party", [(b"a.example:8443", "a.example"), (b"A.example", "a.example"), (None, "")]
)
def test_the_party_is_the_client_domain(host: bytes | None, party: str) -> None:
    headers = [] if host is None else [(b"host", host)]
    assert party_of({"headers": headers}) == party


class Busy:
    """An application that answers once it is told to, then keeps its stream open until it is let go."""

    def __init__(self) -> None:
        self.answer, self.let_go = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self.answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.let_go.wait()
        await send({"type": "http.response.body", "body": b"done"})


class Caller:
    """One request to a gate, and what it was answered."""

    def __init__(
        self, gate: Gate, path: str = "/", *, host: bytes = b"a.example", accept: bytes = b""
    ) -> None:
        self.messages: list[Message] = []
        headers = [(b"host", host), (b"accept", accept)]
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "headers": headers,
            "http_version": "1.1",
        }
        self.task = asyncio.ensure_future(gate(scope, self._receive, self._send))

    @property
    def status(self) -> int:
        return self.messages[0]["status"] if self.messages else 0

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.messages.append(message)


@pytest.fixture
async def pulse(tmp_path: Path) -> AsyncGenerator[PulseFile]:
    file = PulseFile(tmp_path / "pulse")
    yield file
    file.close()


async def told(gate: Gate, pulse: PulseFile) -> Pulse:
    """What the gate next tells of itself."""
    beating = asyncio.ensure_future(gate.beat())
    await until(lambda: pulse.read() is not None)
    beating.cancel()
    said = pulse.read()
    assert said is not None
    return said


async def test_beyond_its_places_an_instance_refuses_at_once_and_says_when_to_come_again(
    pulse: PulseFile,
) -> None:
    busy = Busy()
    gate = Gate(busy, Teller(pulse.path))
    callers = [Caller(gate) for _ in range(120)]
    await asyncio.sleep(0)
    refused = [one for one in callers if one.status == 503]
    assert len(refused) == 24
    assert {int(one.headers[b"retry-after"]) for one in refused} == {1, 2, 3}
    assert json.loads(refused[0].messages[1]["body"])["code"] == "busy"
    page = Caller(gate, accept=b"text/html,*/*")
    await page.task
    assert page.status == 503
    assert page.messages[1]["body"].startswith(b"<!doctype html>")
    other = Caller(gate, host=b"b.example")
    busy.answer.set()
    busy.let_go.set()
    await asyncio.gather(*(one.task for one in (*callers, other)))
    assert other.status == 200, "another domain's request found a place"
    said = await told(gate, pulse)
    assert (said.waiting, said.served, said.refused, said.failed) == (0, 97, 25, 0), "a refusal is no failure"


async def test_streams_that_have_begun_take_no_place(pulse: PulseFile) -> None:
    busy = Busy()
    busy.answer.set()
    gate = Gate(busy, Teller(pulse.path))
    streams: list[Caller] = []
    for _ in range(10):
        together = [Caller(gate) for _ in range(50)]
        await until(lambda together=together: all(one.status for one in together))
        streams += together
    assert {one.status for one in streams} == {200}
    said = await told(gate, pulse)
    assert (said.waiting, said.in_flight) == (0, 500)
    busy.let_go.set()
    await asyncio.gather(*(one.task for one in streams))


async def test_a_flood_for_an_application_that_never_waits_is_refused_before_it_is_worked_off(
    pulse: PulseFile,
) -> None:
    """It would be through with each before the next is seen: none too many, and the last waits for all."""
    worked: list[str] = []

    async def computes(scope: Message, receive: Receive, send: Send) -> None:
        worked.append(party_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    gate = Gate(computes, Teller(pulse.path))
    flood = [Caller(gate) for _ in range(300)]
    quiet = [Caller(gate, host=b"b.example") for _ in range(5)]
    await asyncio.sleep(0)
    assert sum(one.status == 503 for one in flood) == 204
    assert worked == []
    await asyncio.gather(*(one.task for one in (*flood, *quiet)))
    assert {one.status for one in quiet} == {200}
    assert len(worked) == 96 + 5


async def test_an_application_that_fails_gives_its_place_back(pulse: PulseFile) -> None:
    async def fails(scope: Message, receive: Receive, send: Send) -> None:
        raise ValueError("a defect of the application")

    gate = Gate(fails, Teller(pulse.path))
    callers = [Caller(gate) for _ in range(5)]
    await asyncio.gather(*(one.task for one in callers), return_exceptions=True)
    said = await told(gate, pulse)
    assert (said.waiting, said.raised) == (0, 5)
