"""One client that asks too often is told when to come again; nobody else feels it."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from troth.core.errors import TooMany
from troth.core.leader import DatabaseTarget
from troth.web.app import Application
from troth.web.throttle import Rate, Throttle
from troth.wiring.blueprint import WebConfiguration


def ask(throttle: Throttle, address: str, now: float, times: int = 1) -> int:
    """How many of so many requests pass."""
    passed = 0
    for _ in range(times):
        try:
            throttle.check([(b"host", b"a.example"), (b"x-forwarded-for", address.encode())], now)
            passed += 1
        except TooMany:
            pass
    return passed


def test_a_burst_passes_and_then_only_the_even_rate() -> None:
    throttle = Throttle(10, 1000)
    assert ask(throttle, "192.0.2.1", 0.0, 500) == 100
    assert ask(throttle, "192.0.2.1", 1.0, 500) == 10
    assert ask(throttle, "192.0.2.1", 3600.0, 500) == 100


def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    throttle = Throttle(1, 0)
    ask(throttle, "192.0.2.1", 0.0, 10)
    with pytest.raises(TooMany) as refused:
        throttle.check([(b"x-forwarded-for", b"192.0.2.1")], 0.0)
    assert refused.value.retry_after == 1


def test_a_neighbour_is_not_refused_for_another() -> None:
    throttle = Throttle(10, 1000)
    ask(throttle, "192.0.2.1", 0.0, 500)
    assert ask(throttle, "192.0.2.2", 0.0, 50) == 50


def test_a_network_as_a_whole_is_bounded() -> None:
    throttle = Throttle(10, 20)
    passed = sum(ask(throttle, f"198.51.100.{host}", 0.0, 10) for host in range(1, 255))
    assert passed == pytest.approx(200, abs=1)
    assert ask(throttle, "203.0.113.1", 0.0, 10) == 10


@pytest.mark.parametrize("other, passed", [("2001:db8:1:2::beef", 0), ("2001:db8:1:3::1", 5)])
def test_an_ipv6_client_is_its_64_bits(other: str, passed: int) -> None:
    throttle = Throttle(1, 1000)
    ask(throttle, "2001:db8:1:2::1", 0.0, 50)
    assert ask(throttle, other, 0.0, 5) == passed


def test_an_ipv4_client_is_the_same_in_both_forms() -> None:
    throttle = Throttle(1, 1000)
    ask(throttle, "192.0.2.1", 0.0, 50)
    assert ask(throttle, "::ffff:192.0.2.1", 0.0, 5) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "no address", "192.0.2.1, 10.0.0.1"])
def test_this_machine_and_what_is_no_address_are_not_counted(address: str) -> None:
    assert ask(Throttle(1, 1), address, 0.0, 100) == 100


def test_no_limit_is_no_limit() -> None:
    assert ask(Throttle(0, 0), "192.0.2.1", 0.0, 1000) == 1000


def test_the_table_is_bounded_and_keeps_who_asks_most() -> None:
    rate = Rate(1, burst_seconds=2, remembered=100)
    for number in range(1000):
        rate.wait(b"busy", 0.0)
        rate.wait(str(number).encode(), 0.0)
    assert len(rate) == 100
    assert rate.wait(b"busy", 0.5) > 0, "whoever asks all the time is not pushed out by others"


async def test_the_web_service_refuses_before_it_does_anything(tmp_path: Path) -> None:
    target = DatabaseTarget((), "app", tmp_path, tmp_path, tmp_path)
    application = Application(
        WebConfiguration(
            platform="test",
            database=target,
            root_key=tmp_path,
            https_port=443,
            connections=1,
            collections={},
            public={},
            client_per_second=1,
        )
    )
    heads: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            heads.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}
    scope["headers"].append((b"x-forwarded-for", b"192.0.2.1"))
    for _ in range(11):
        await application(dict(scope), receive, send)
    assert [head["status"] for head in heads] == [404] * 10 + [429]
    assert dict(heads[-1]["headers"])[b"retry-after"] == b"1"
