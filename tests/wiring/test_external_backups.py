"""Backups of a set that somebody else runs under Patroni, which knows nothing of our slot: taken, drilled,
and carried on from another leader."""

import contextlib
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest

from support.kept_backups import KeptBackups, keeping
from support.platform import EXAMPLE, state_folder
from support.replicas import Cluster
from support.rounds import in_many_rounds, tell
from support.waiting import until_answered
from support.writers import Writers
from troth.core.config import load_settings
from troth.core.db import Database
from troth.core.errors import Unavailable
from troth.core.settings import BackupSettings
from troth.core.state import open_state
from troth.data.backups.tool import SLOT
from troth.data.postgres import find_binaries
from troth.data.roles import APP, AUDITOR, OWNER, REPLICATOR, SUPERUSER
from troth.wiring.backup_bounds import Bounds
from troth.wiring.external_database import ExternalDatabase

HELD = "select max(slot_name) from pg_replication_slots where active and slot_name like 'troth%'"

pytestmark = [pytest.mark.chaos, in_many_rounds, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        await running.start()
        await running.prepare()
        yield running
    finally:
        await running.stop()


def certificates(cluster: Cluster, folder: Path) -> Path:
    """What a platform is given; the superuser's is for the test alone."""
    folder.mkdir()
    shutil.copy(cluster.replicas.server_authority, folder / "database.ca.pem")
    for role in (OWNER, APP, AUDITOR, REPLICATOR, SUPERUSER):
        target = cluster.target(role)
        shutil.copy(target.certificate, folder / f"{role}.pem")
        shutil.copy(target.key, folder / f"{role}.key")
    return folder


def external(cluster: Cluster, root: Path, folder: Path) -> ExternalDatabase:
    """The set as a platform sees it that only connects to it."""
    example = load_settings(EXAMPLE)
    hosts = tuple(str(one.postgres) for one in cluster.replicas.members)
    database = msgspec.structs.replace(
        example.database,
        hosts=hosts,
        regions=("DE",) * len(hosts),
        certificates=certificates(cluster, folder),
    )
    settings = msgspec.structs.replace(example, database=database, backup=BackupSettings())
    return ExternalDatabase(open_state(root), settings, find_binaries(None))


async def test_backups_of_a_set_elsewhere_go_on_from_another_leader_and_lose_nothing(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = BackupSettings(store=(tmp_path / "store").as_uri())
    with state_folder() as root:
        database = external(cluster, root, tmp_path / "certificates")
        for step in database.steps():
            await step.start(lambda _: None)
        kept = KeptBackups(root, database, settings, Bounds(alarm_seconds=20, reopen_seconds=0.5))
        await kept.plant()
        owner = await Database.open(cluster.target(OWNER), max_size=4)
        writers = Writers(owner)
        try:
            async with keeping(kept):
                await kept.backed_up()
                assert await kept.verdict() == "proved"
                await writers.during(lead_elsewhere(cluster, kept), after=2)
                await kept.untroubled(seconds=180)
                drilled = len(kept.drills.history())
                assert not (await kept.take())["failure"]
                await kept.backed_up(drilled + 1)
                assert await kept.verdict() == "proved"
                await kept.caught_up()
                lost = writers.acknowledged - await kept.restored(tmp_path / "restored")
                tell(capsys, f"external set: {len(writers.acknowledged)} acknowledged, {len(lost)} lost")
                assert writers.acknowledged
                assert not lost
        finally:
            await owner.close()


async def lead_elsewhere(cluster: Cluster, kept: KeptBackups) -> None:
    """The leader is gone, and comes back as a standby; the new one has our slot."""
    leader = await cluster.leader()
    cluster.kill_member(leader)

    async def has_slot() -> bool:
        new = await cluster.leader()
        with contextlib.suppress(Unavailable):
            return new.name != leader.name and await kept.ask(HELD) == SLOT
        return False

    await until_answered(has_slot, 120)
    cluster.start_member(leader)
    await cluster.complete()
