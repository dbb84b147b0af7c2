"""A store that falls silent, fills up or stays away: it is told, the database goes on, and nothing that was
acknowledged is missing from the store once it is back."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest

from support.far_stores import Far, Kind, far_store
from support.kept_backups import KeptBackups, keeping
from support.platform import state_folder
from support.replicas import Cluster
from support.rounds import in_many_rounds, tell
from support.stores import SftpServer
from support.waiting import until_answered
from support.writers import Writers
from troth.core.db import Database
from troth.data.backups.manifest import id_in
from troth.data.roles import OWNER
from troth.data.stores.waiting import Patience
from troth.hosting import processes
from troth.wiring.backup_bounds import Bounds

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400), in_many_rounds]

MEBIBYTE = 1 << 20
SLOW = 2_000_000
"""Bytes a second: a backup then lasts long enough for a fault in its middle."""

BOUNDS = Bounds(
    spool_bytes=48 * MEBIBYTE,
    alarm_seconds=8,
    reopen_seconds=0.5,
    patience=Patience(seconds=2, attempts=2),
)


class Stage:
    """Writers at the database, its keeper, and the store behind a gate."""

    def __init__(self, kept: KeptBackups, far: Far, writers: Writers, folder: Path) -> None:
        self.kept, self.far, self.writers = kept, far, writers
        self._folder = folder

    async def sending(self) -> None:
        """Return in the middle of a backup's data."""

        async def seen() -> bool:
            running = self.kept.part.running
            return running is not None and running.step == "the data" and running.done > 0

        await until_answered(seen, 60)

    async def failed(self) -> str:
        """What the backup that was going on failed with."""
        running = self.kept.part.running
        assert running is not None

        async def ended() -> bool:
            return running.finished

        await until_answered(ended, 90)
        return running.failure

    async def lost(self, name: str, capsys: pytest.CaptureFixture[str]) -> int:
        """Acknowledged writes that are not in a restore of what the store has now."""
        await self.kept.caught_up()
        found = await self.kept.restored(self._folder / "restored")
        lost = self.writers.acknowledged - found
        tell(capsys, f"{name}: {len(self.writers.acknowledged)} acknowledged, {len(lost)} lost")
        return len(lost)


@pytest.fixture
async def kind() -> Kind:
    return "sftp"


@pytest.fixture
async def stage(cluster: Cluster, tmp_path: Path, kind: Kind) -> AsyncGenerator[Stage]:
    async with far_store(kind, tmp_path, bandwidth=SLOW) as far:
        with state_folder() as root:
            kept = KeptBackups(root, cluster, far.settings, BOUNDS)
            await kept.plant()
            owner = await Database.open(cluster.target(OWNER), max_size=4)
            try:
                async with keeping(kept):
                    yield Stage(kept, far, Writers(owner), tmp_path)
            finally:
                await owner.close()
            assert not processes.leftovers(kept.state.root)


@in_many_rounds
@pytest.mark.parametrize("kind", ["sftp", "s3"])
async def test_a_black_hole_in_the_middle_of_a_backup(
    stage: Stage, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = stage.kept

    async def fault() -> None:
        await stage.sending()
        stage.far.gate.silence()
        assert "no answer within 2 s" in await stage.failed()

    await stage.writers.during(fault(), after=1)
    assert stage.writers.acknowledged
    assert await kept.troubled("the last backup failed")
    assert await kept.troubled("no write has reached the backup store")
    assert (await kept.part.report())["problem"]
    await stage.far.gate.open()
    assert not (await kept.take())["failure"]
    await kept.backed_up()
    await kept.untroubled()
    assert await kept.verdict() == "proved"
    assert await nothing_half(kept)
    assert await stage.lost(f"black hole to {kind} during a backup", capsys) == 0


@in_many_rounds
@pytest.mark.parametrize("kind", ["sftp", "s3"])
async def test_a_black_hole_while_the_log_is_shipped(
    stage: Stage, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = stage.kept
    await kept.backed_up()

    async def fault() -> None:
        stage.far.gate.silence()
        await kept.troubled("no write has reached the backup store since")

    await stage.writers.during(fault(), after=1)
    assert stage.writers.acknowledged
    age = kept.part.log.age()
    assert age > BOUNDS.alarm_seconds
    await stage.far.gate.open()
    await kept.untroubled()
    assert kept.part.log.age() < age
    assert await stage.lost(f"black hole to {kind} while the log is shipped", capsys) == 0


@in_many_rounds
async def test_a_store_that_fills_up_in_the_middle_of_a_backup(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, server = stage.kept, stage.far.server
    assert isinstance(server, SftpServer)

    async def fault() -> None:
        await stage.sending()
        server.is_full = True
        assert "No space left" in await stage.failed()

    await stage.writers.during(fault(), after=1)
    assert "No space left" in await kept.troubled("the last backup failed")
    assert await kept.troubled("no write has reached the backup store")
    server.is_full = False
    assert not (await kept.take())["failure"]
    await kept.backed_up()
    await kept.untroubled()
    assert await nothing_half(kept)
    assert not [path for path in server.root.rglob(".*") if path.is_file()]
    assert await stage.lost("a store that is full", capsys) == 0


@in_many_rounds
async def test_a_store_that_is_away_for_too_long_leaves_a_gap_that_is_told_and_closed(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = stage.kept
    await kept.backed_up()
    await kept.ask("alter system set max_slot_wal_keep_size = '32MB'")
    try:
        await kept.ask("select pg_reload_conf()")
        stage.far.gate.silence()
        await stage.writers.during(fill_the_log(kept, lambda: lost_slot(kept)), after=1)
        assert await kept.troubled("the log waits for the backup store")
        assert await kept.troubled("the shipped log has a gap")
        assert sum(path.stat().st_size for path in kept.state.spool.rglob("*") if path.is_file()) < (
            BOUNDS.spool_bytes + 160 * MEBIBYTE  # what arrives between two looks
        )
        before = kept.part.log.until
        await stage.far.gate.open()
        await kept.backed_up(2)
        assert before is not None
        await kept.untroubled()
        assert kept.part.log.until is not None
        assert kept.part.log.until > before
        assert await kept.verdict() == "proved"
        assert await stage.lost("a store away until the log has a gap", capsys) == 0
    finally:
        await kept.ask("alter system reset max_slot_wal_keep_size")
        await kept.ask("select pg_reload_conf()")


async def fill_the_log(kept: KeptBackups, until: Callable[[], Awaitable[bool]]) -> None:
    """One segment after the other, until it holds; a slot is given up at a checkpoint."""
    async with asyncio.timeout(180):
        while not await until():
            for _ in range(3):
                await kept.ask("select pg_logical_emit_message(true, 'filler', 'x')::text")
                await kept.ask("select pg_switch_wal()::text")
            await kept.ask("checkpoint")


async def lost_slot(kept: KeptBackups) -> bool:
    return await kept.ask("select wal_status = 'lost' from pg_replication_slots") is True


async def nothing_half(kept: KeptBackups) -> bool:
    """Whether every object below base/ belongs to a backup that counts."""
    store = await kept.store()
    try:
        entries = await store.list("base/")
    finally:
        await store.close()
    known = {one.id for one in kept.part.shelf.catalogue.backups}
    return {id_in(entry.name) for entry in entries} == known
