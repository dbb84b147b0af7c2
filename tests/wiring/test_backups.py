"""The keeper's backups on a real member: taken when due, drilled, told of when late, and ended with nothing
left."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import pytest

from support.kept_backups import KeptBackups, keeping
from support.platform import state_folder
from support.replicas import Cluster
from support.rounds import in_many_rounds
from support.waiting import until_answered
from troth.core.errors import PlatformError
from troth.core.settings import BackupSettings
from troth.data.backups.manifest import data_name
from troth.hosting import processes
from troth.wiring.backup_bounds import Bounds

pytestmark = pytest.mark.timeout(600)

FULL_SPEED, SLOW = 0, 2_000_000


@pytest.fixture
async def kept(
    cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncGenerator[KeptBackups]:
    bandwidth = getattr(request, "param", FULL_SPEED)
    settings = BackupSettings(store=(tmp_path / "store").as_uri(), bandwidth=bandwidth)
    with state_folder() as root:
        made = KeptBackups(root, cluster, settings, Bounds(alarm_seconds=5, reopen_seconds=0.5))
        await made.plant()
        yield made
        assert not processes.leftovers(made.state.root)


@pytest.mark.chaos
@in_many_rounds
async def test_the_first_backup_comes_by_itself_is_drilled_and_carries_its_digests(kept: KeptBackups) -> None:
    async with keeping(kept):
        await kept.backed_up()
        (drilled,) = kept.drills.history()
        assert (drilled.canaries > 0, drilled.rows > 0) == (True, True)
        (backup,) = kept.part.shelf.catalogue.backups
        assert backup.kind == "full"
        assert backup.digests is not None
        assert backup.digests.rows == drilled.rows
        await kept.untroubled()
        report = await kept.part.report()
        assert (report["kept"], report["problem"], report["last_kind"]) == (1, "", "full")
        assert await kept.verdict() == "proved"


@pytest.mark.chaos
@in_many_rounds
async def test_an_increment_follows_when_it_is_due_and_a_full_backup_after_a_day(kept: KeptBackups) -> None:
    async with keeping(kept):
        await kept.backed_up()
        kept.clock.by += timedelta(minutes=61)
        await kept.backed_up(2)
        kept.clock.by += timedelta(hours=24)
        await kept.backed_up(3)
        kinds = [one.kind for one in kept.part.shelf.catalogue.backups]
        assert kinds[-1] == "full"
        assert "incremental" in kinds or len(kinds) < 3  # that of yesterday may have been removed by now
        assert len(kept.drills.history()) == 3


@pytest.mark.chaos
@in_many_rounds
async def test_a_store_that_cannot_be_used_is_told_and_everything_follows_once_it_can(
    kept: KeptBackups, tmp_path: Path
) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    async with keeping(kept):
        assert "did not open" in await kept.troubled("The backup folder")
        assert await kept.troubled("no write has reached the backup store")
        assert "did not open" in str((await kept.part.report())["problem"])
        kept.clock.by += timedelta(minutes=11)
        assert await kept.troubled("overdue")
        (tmp_path / "store").unlink()
        await kept.backed_up()
        await kept.untroubled()


@pytest.mark.chaos
@in_many_rounds
@pytest.mark.parametrize("kept", [SLOW], indirect=True)
async def test_a_keeper_that_stops_during_a_backup_ends_its_tools_and_the_next_one_begins_anew(
    kept: KeptBackups, tmp_path: Path
) -> None:
    async def sending() -> bool:
        running = kept.part.running
        return running is not None and running.step == "the data" and running.done > 0

    async with keeping(kept):
        await until_answered(sending, 60)
        with pytest.raises(PlatformError, match="taken already"):
            await kept.part.take_now({})
    assert not processes.leftovers(kept.state.root)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file() and "base" in path.parts]
    async with keeping(kept):
        await kept.backed_up()
        assert len(kept.part.shelf.catalogue.backups) == 1


@pytest.mark.chaos
@in_many_rounds
async def test_a_base_backup_that_is_deleted_is_missed_and_the_next_one_is_full(
    kept: KeptBackups, tmp_path: Path
) -> None:
    async with keeping(kept):
        await kept.backed_up()
        assert not (await kept.take())["failure"]
        await kept.backed_up(2)
        full, increment = kept.part.shelf.catalogue.backups
        assert increment.parent == full.id
        assert await kept.verdict() == "proved"
        (victim,) = (tmp_path / "store").glob(f"*/{data_name(full.id)}")
        victim.unlink()
        assert await kept.verdict() == "broken"
        listed = await kept.part.list_backups({})  # the keeper looks at the store every ten minutes
        assert listed["lost"] == [full.id]
        assert full.id in await kept.troubled("is gone from the store")
        await kept.backed_up(3)
        assert kept.part.shelf.catalogue.backups[-1].kind == "full"
        await kept.untroubled()
        assert await kept.verdict() == "broken"  # until the ruin is cleared away, after one more backup
        assert not (await kept.take())["failure"]
        await kept.backed_up(4)
        assert await kept.verdict() == "proved"


@pytest.mark.chaos
@in_many_rounds
async def test_a_segment_that_is_deleted_from_the_store_is_missed_and_a_backup_closes_the_gap(
    kept: KeptBackups, tmp_path: Path
) -> None:
    async with keeping(kept):
        await kept.backed_up()
        for _ in range(4):
            await kept.ask("select pg_switch_wal()::text")
            await kept.plant()
            await kept.caught_up()
        whole = sorted(path for path in (tmp_path / "store").glob("*/wal/*") if len(path.name) == 24)
        whole[-2].unlink()
        assert await kept.verdict() == "broken"
        await kept.part.list_backups({})
        await kept.troubled("the shipped log has a gap")
        await kept.backed_up(2)
        await kept.untroubled()
        assert await kept.verdict() == "proved"
