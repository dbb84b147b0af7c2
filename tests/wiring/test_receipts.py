"""The duty that writes canaries: what it counts, when, and what becomes of a loss."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.postgres import Server, Tenant
from troth.access.alarms import recent_alarms
from troth.core.clock import SystemClock
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.state import State, open_state
from troth.data.keys import make_root_key
from troth.data.survivals import KEPT, Survived, keep_survived, last_survived, read_survivals, standing_loss
from troth.wiring import receipts as module
from troth.wiring.receipts import Receipts


def silent(_: str) -> None:
    """Nobody watches the steps."""


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = open_state(tmp_path / "s")
    make_root_key(state.root_key)
    return state


@pytest.fixture
async def receipts(
    postgres: Server, state: State, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Receipts]:
    monkeypatch.setattr(module, "PROBE_TENANT", tenant.slug)
    opened = Receipts(state, postgres.target)
    await opened.open(silent)
    yield opened
    await opened.close()


async def test_each_round_writes_and_says_nothing(receipts: Receipts) -> None:
    assert [await receipts.work() for _ in range(3)] == ["", "", ""]
    view = await receipts.report()
    assert view.newest >= 3
    assert view.timeline == 1
    assert receipts.history() == ()


async def test_a_start_holds_the_database_against_the_receipts_of_the_run_before(
    receipts: Receipts,
) -> None:
    for _ in range(3):
        await receipts.work()
    await receipts.close()
    assert (await receipts.open(silent)).startswith("3 of 3 acknowledged writes survived the last start")
    (counted,) = receipts.history()
    assert (counted.after, counted.survived, counted.is_whole) == ("start", 3, True)


async def test_the_first_write_under_another_timeline_counts_what_survived_the_failover(
    receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await receipts.work()
    monkeypatch.setattr(receipts, "_timeline", 7)  # as if the receipts before were another leader's
    assert (await receipts.work()).startswith("2 of 2 acknowledged writes survived the last failover")
    assert [one.after for one in receipts.history()] == ["failover"]
    assert await receipts.work() == ""


async def test_a_loss_stands_in_history_and_alarms(
    receipts: Receipts, owner_database: Database, auditor_database: Database, tenant: Tenant
) -> None:
    for _ in range(2):
        await receipts.work()
    await owner_database.execute(
        "delete from troth.canary_row where number = $1", (await receipts.report()).newest
    )
    await receipts.close()
    await receipts.open(silent)
    (counted,) = receipts.history()
    assert (counted.acknowledged, counted.survived, len(counted.missing)) == (2, 1, 1)
    assert standing_loss(receipts.history(), SystemClock().now()) == counted
    assert "receipts.lost" in [one.alarm for one in await recent_alarms(auditor_database, probes=tenant.slug)]


async def test_receipts_that_were_tampered_with_are_set_aside_and_told(
    receipts: Receipts, state: State
) -> None:
    for _ in range(2):
        await receipts.work()
    await receipts.close()
    log = state.receipts / "log.jws"
    first, second = log.read_bytes().splitlines()
    log.write_bytes(second + b"\n" + first + b"\n")
    assert "begun anew" in await receipts.open(silent)
    assert await receipts.work() == ""
    (told,) = receipts.history()
    assert "did not verify" in str(told)
    assert not told.is_whole
    assert [file.name for file in state.receipts.glob("log.jws.faulty-*")]


async def test_a_database_that_is_away_is_waited_for_and_what_survived_counted_when_it_is_back(
    tmp_path: Path, state: State, postgres: Server, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_TENANT", tenant.slug)
    monkeypatch.setattr("troth.core.db.DEADLINE_SECONDS", 2.0)
    opened = Receipts(state, postgres.target)
    await opened.open(silent)
    try:
        await opened.work()
        postgres.pause()
        try:
            assert await opened.work() == ""
            monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)
            with pytest.raises(PlatformError, match="No write was acknowledged"):
                await opened.work()
        finally:
            postgres.resume()
        told = ""
        while not told:
            try:
                told = await opened.work()
            except PlatformError:
                continue
        assert "acknowledged writes survived the last interruption" in told
        assert opened.history()[-1].is_whole
    finally:
        await opened.close()


def test_the_history_is_bounded_and_knows_the_last_of_each_kind(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        keep_survived(
            tmp_path, Survived(after="failover" if number % 2 else "drill", at="2026-11-25T12:00:00.000Z")
        )
    history = read_survivals(tmp_path)
    assert len(history) == KEPT
    assert last_survived(history, "failover") is history[-2]
    assert last_survived(history, "start") is None


def test_a_loss_in_a_restored_copy_is_none_of_the_living_database() -> None:
    now = SystemClock().now()
    lost = Survived(after="drill", at=now.isoformat(), acknowledged=2, survived=1)
    assert standing_loss([lost], now) is None
