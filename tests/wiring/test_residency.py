"""The watch over outgoing connections, on real sockets: what is declared is quiet, anything else alarms."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.platform import EXAMPLE
from support.postgres import Server, Tenant
from troth.access.alarms import recent_alarms
from troth.assurance.drills import run_drill
from troth.core.clock import SystemClock
from troth.core.config import load_settings
from troth.core.db import Database
from troth.core.process import Endpoint
from troth.core.settings import PlaceSettings
from troth.core.state import State, open_state
from troth.data.places import find_places
from troth.data.residency_promise import STANDS, Stray, WatchView, drill, judge_residency, probe
from troth.hosting.outgoing import own_addresses
from troth.wiring import strays
from troth.wiring.residency import Residency, system_resolvers

NOW = SystemClock().now()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


def watch(state: State, postgres: Server, **changes: Any) -> Residency:
    settings = msgspec.structs.replace(load_settings(EXAMPLE), **changes)
    return Residency(settings, state, postgres.target, edge_ports=frozenset({9}))


def an_own_address() -> str:
    found = [one for one in own_addresses() if "." in one and not one.startswith(("127.", "169.254."))]
    if not found:
        pytest.skip("this machine has no address but loopback")
    return min(found)


@contextmanager
def connected() -> Generator[Endpoint]:
    """A connection to an address of this machine that is not loopback: nothing is sent anywhere."""
    with socket.create_server((an_own_address(), 0)) as listener:
        address, port = listener.getsockname()
        with socket.create_connection((address, port)):
            yield Endpoint(address, port)


async def test_an_undeclared_destination_is_told_once_alarms_and_breaks_the_promise(
    state: State, postgres: Server, auditor_database: Database, tenant: Tenant
) -> None:
    residency = watch(state, postgres)
    with connected() as place:
        told = await residency.work()
        assert f"connected to {place} (tcp)" in told
        assert await residency.work() == ""
    assert "residency.undeclared" in [
        one.alarm for one in await recent_alarms(auditor_database, probes=tenant.slug)
    ]
    (trouble,) = await residency.troubles()
    assert str(place) in trouble
    finding = await probe(residency.view()).look()
    assert finding.verdict == "broken"
    assert str(place) in finding.evidence


async def test_a_declared_place_may_be_connected_to_at_its_port_alone(state: State, postgres: Server) -> None:
    with connected() as place:
        declared = PlaceSettings(host=place.host, port=place.port, region="DE", purpose="Payments")
        assert await watch(state, postgres, places={"p": declared}).work() == ""
        beside = msgspec.structs.replace(declared, port=place.port % 65_535 + 1)
        assert "undeclared" in await watch(state, postgres, places={"p": beside}).work()


async def test_the_edge_may_be_visited_at_this_machines_own_address(state: State, postgres: Server) -> None:
    with connected() as place:
        settings = load_settings(EXAMPLE)
        residency = Residency(settings, state, postgres.target, edge_ports=frozenset({place.port}))
        assert await residency.work() == ""


async def test_the_drill_turns_the_promise_red_and_green_again_and_alarms_nobody(
    state: State, postgres: Server
) -> None:
    an_own_address()
    residency = watch(state, postgres)
    await residency.work()
    view = residency.view()
    drilled = await run_drill(drill(view, residency.planted), probe(view), SystemClock())
    assert (drilled.before, drilled.during, drilled.after) == ("proved", "broken", "proved"), drilled
    assert drilled.passed
    assert await residency.troubles() == ()
    assert (await residency.report()).undeclared == ()


async def test_a_stray_is_forgotten_after_its_time(state: State, postgres: Server) -> None:
    residency = watch(state, postgres)
    with connected():
        await residency.work()
    residency._clock = _Later()  # pyright: ignore[reportPrivateUsage]
    assert residency.watched().strays == ()


class _Later(SystemClock):
    def now(self) -> Any:
        return super().now() + STANDS + timedelta(minutes=1)


async def test_strays_are_bounded(state: State, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "_MOST", 2)
    residency = watch(state, postgres)
    for _ in range(3):
        with connected():
            await residency.work()
    assert len(residency.watched().strays) == 2


def test_the_name_servers_of_the_machine_are_known(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# comment\nnameserver 10.0.0.53\nsearch example\nnameserver\nnameserver ::1\n")
    assert system_resolvers(file) == {"10.0.0.53", "::1"}
    assert system_resolvers(tmp_path / "none") == frozenset()


PLACES = find_places(load_settings(EXAMPLE))


def seen(**changes: Any) -> WatchView:
    plain = WatchView(since=NOW, looked=7, last=NOW, every=0.5)
    return msgspec.structs.replace(plain, **changes)


def test_the_evidence_lists_the_places_and_says_what_may_be_missed() -> None:
    finding = judge_residency(PLACES, seen(), NOW)
    assert finding.verdict == "proved"
    assert "database members: Ireland" in finding.evidence
    assert "one that lives shorter may be missed" in finding.evidence
    assert finding.raw["places"][0] == {  # pyright: ignore[reportIndexIssue]
        "use": "members", "name": "database members", "region": "IE", "country": "IE", "provider": "",
    }  # fmt: skip


def test_what_was_not_looked_at_lately_proves_nothing() -> None:
    assert judge_residency(PLACES, seen(last=None), NOW).verdict == "unknown"
    assert judge_residency(PLACES, seen(last=NOW - timedelta(minutes=2)), NOW).verdict == "unknown"


def test_data_elsewhere_in_the_union_is_not_called_ireland() -> None:
    settings = load_settings(EXAMPLE)
    german = msgspec.structs.replace(
        settings, platform=msgspec.structs.replace(settings.platform, region="DE")
    )
    finding = judge_residency(find_places(german), seen(), NOW)
    assert finding.verdict == "unknown"
    assert "in Germany too" in finding.evidence


def test_a_stray_breaks_the_promise_and_is_named() -> None:
    stray = Stray(process="caddy", pid=7, protocol="tcp", address="198.51.100.7:443", first=NOW, last=NOW)
    finding = judge_residency(PLACES, seen(strays=(stray,)), NOW)
    assert finding.verdict == "broken"
    assert "caddy (pid 7) connected to 198.51.100.7:443 (tcp)" in finding.evidence
