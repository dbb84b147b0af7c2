"""A backup whose process is killed in any of its steps: no half of it counts, no tool outlives it, the next
one is whole, and what is left goes when its time has come."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio

from support.replicas import Cluster
from support.rounds import in_many_rounds
from support.taking_child import Order
from support.vaults import SLOT, Backups, running
from support.waiting import until
from troth.data.backups.fetching import Objects
from troth.data.backups.manifest import BASE, WAL, Catalogue, id_in
from troth.data.backups.planning import plan_restore
from troth.data.backups.retention import LEFTOVER_AGE, old_leftovers
from troth.data.stores.folder import ABANDONED_SECONDS, FolderStore

STEPS = ("the data", "the list of its files", "the log up to its end", "its manifest")

pytestmark = [pytest.mark.chaos, in_many_rounds, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backups(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backups]:
    folder = tmp_path_factory.mktemp("kills")
    (folder / "cluster").mkdir()
    cluster = Cluster(folder / "cluster", members=1, slots=(SLOT,))
    store = await FolderStore.open(folder / "store")
    try:
        await cluster.start()
        await cluster.prepare()
        async with running(cluster, store, folder / "spool") as backups:
            yield backups
    finally:
        await cluster.stop()


async def begin(backups: Backups, folder: Path) -> asyncio.subprocess.Process:
    """The child, told what to take."""
    (member,) = backups.cluster.replicas.members
    access = backups.access
    (row,) = await backups.superuser.fetch("select system_identifier::text from pg_control_system()")
    order = Order(
        store=(folder.parent / "store").as_uri(),
        folder=str(folder),
        key=backups.key.reveal().hex(),
        member=member.name,
        port=member.postgres.port,
        system=row[0],
        authority=str(access.authority),
        certificate=str(access.replicator.certificate),
        private_key=str(access.replicator.key),
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.taking_child"),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(order) + b"\n")
    return child


async def follow(backups: Backups, child: asyncio.subprocess.Process, step: str) -> str:
    """Its last line, once it has come to the step, or to its end."""
    assert child.stdin is not None
    assert child.stdout is not None
    async for raw in child.stdout:
        word, _, rest = raw.decode().strip().partition(" ")
        if word == "ship":
            await backups.shipped(int(rest))
            child.stdin.write(b"shipped\n")
        if rest == step or word == "done":
            return rest
    raise AssertionError("the child ended by itself")


@pytest.mark.parametrize("step", STEPS)
async def test_a_backup_that_is_killed_is_none_and_the_next_one_is_whole(backups: Backups, step: str) -> None:
    before = (await backups.vault.inventory()).catalogue.backups
    child = await begin(backups, backups.folder)
    assert await follow(backups, child, step) == step
    tools = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    await child.wait()
    await until(lambda: not any(tool.is_running() for tool in tools), 20)
    inventory = await backups.vault.inventory()
    finished = [one for one in inventory.catalogue.backups if one not in before]
    assert len(finished) <= (step == STEPS[-1])  # the manifest may have been stored before the kill
    assert not inventory.damaged
    again = await begin(backups, backups.folder)
    made = await follow(backups, again, "")
    await again.wait()
    found = (await backups.vault.inventory()).catalogue
    assert [one.id for one in found.backups] == [*(one.id for one in (*before, *finished)), made]
    await is_whole(backups, found, made)
    await leaves_nothing_for_ever(backups)


async def is_whole(backups: Backups, catalogue: Catalogue, made: str) -> None:
    """Every byte of it opens, is what its manifest says, and all the log that it needs is there."""
    plan = plan_restore(catalogue, await backups.vault.list(WAL), None)
    assert plan.backup.id == made
    assert not plan.log.lost
    objects = Objects(backups.store, backups.key)
    for file in plan.backup.files:
        kept = backups.folder / "arriving"
        size = sum([len(piece) async for piece in objects.stream(file, kept, lambda _: None)])
        assert size == file.plain > 0


async def leaves_nothing_for_ever(backups: Backups) -> None:
    """What is there without a manifest goes after a day; so does what never had its name."""
    root = backups.folder.parent / "store"
    for path in hidden(root):
        old = path.stat().st_mtime - ABANDONED_SECONDS - 1
        os.utime(path, (old, old))
    await FolderStore.open(root)
    assert not hidden(root)
    catalogue = (await backups.vault.inventory()).catalogue
    entries = await backups.vault.list(BASE)
    later = datetime.now(UTC) + LEFTOVER_AGE + timedelta(minutes=1)
    for name in old_leftovers(entries, catalogue, later):
        await backups.vault.delete(name)
    left = {id_in(entry.name) for entry in await backups.vault.list(BASE)}
    assert left == {one.id for one in catalogue.backups}


def hidden(root: Path) -> list[Path]:
    """Files that have not got their name yet."""
    return [path for path in root.rglob(".*") if path.is_file()]
