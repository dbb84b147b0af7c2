"""Over a real S3 server and a real SFTP server: full, increment and log, the drill of each, and everything
back on an empty machine by the command line, from nothing but the store and the recovery key."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.far_stores import Far, Kind, far_store
from support.kept_backups import KeptBackups, keeping, looking
from support.platform import EXAMPLE, Done, state_folder, troth
from support.replicas import Cluster
from support.rounds import in_many_rounds, tell
from troth.core.db import Database
from troth.core.secret import write_secret
from troth.core.state import State
from troth.data.backups.vault import Vault
from troth.data.recovery import backup_key
from troth.data.roles import OWNER
from troth.wiring.backup_bounds import Bounds

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400), in_many_rounds]

WRITES = 300


async def write(cluster: Cluster, numbers: range) -> None:
    """Each is acknowledged by itself."""
    owner = await Database.open(cluster.target(OWNER), max_size=1)
    try:
        for number in numbers:
            await owner.execute("insert into troth.note values ($1)", number, idempotent=False)
    finally:
        await owner.close()


def run_restore(root: Path, far: Far, folder: Path, *more: str) -> Done:
    """`troth backup restore` as it is run on a machine that has nothing but troth.toml and the key."""
    shutil.copytree(EXAMPLE.parent, folder / "machine", dirs_exist_ok=True)
    text = EXAMPLE.read_text().replace("[backup]\n", f"[backup]\n{far.toml()}", 1)
    (folder / "machine" / "troth.toml").write_text(text)
    return troth(
        *("backup", "restore", "--to", "latest", "--config", folder / "machine" / "troth.toml"),
        *("--recovery-key", folder / "recovery.key", "--state", root, "--yes", "--json", *more),
    )


def restore(root: Path, far: Far, folder: Path) -> dict[str, Any]:
    """How a restore ended that has to succeed."""
    done = run_restore(root, far, folder)
    assert done.status == 0, done.output + done.errors
    return json.loads(done.output)


@pytest.mark.parametrize("kind", ["sftp", pytest.param("s3", marks=in_many_rounds)])
async def test_everything_comes_back_on_an_empty_machine_from_a_store_far_away(
    cluster: Cluster, tmp_path: Path, kind: Kind, capsys: pytest.CaptureFixture[str]
) -> None:
    async with far_store(kind, tmp_path) as far:
        with state_folder() as root:
            kept = KeptBackups(root, cluster, far.settings, Bounds(alarm_seconds=10))
            await kept.plant()
            async with keeping(kept):
                await kept.backed_up()
                await write(cluster, range(WRITES))
                assert not (await kept.take())["failure"]
                await kept.backed_up(2)
                await write(cluster, range(WRITES, 2 * WRITES))
                await kept.caught_up()
                assert [one.kind for one in kept.part.shelf.catalogue.backups] == ["full", "incremental"]
                assert await kept.verdict() == "proved"
            write_secret(tmp_path / "recovery.key", kept.recovery.reveal())
        with state_folder() as root:
            outcome = await asyncio.to_thread(restore, root, far, tmp_path)
            assert outcome["facts"]["tables"] > 0
            assert outcome["facts"]["rows"] >= WRITES
            assert outcome["facts"]["canaries"] > 0
            async with looking(State(root)) as connection:
                found = {row["id"] for row in await connection.fetch("select id from troth.note")}
            lost = set(range(2 * WRITES)) - found
            tell(capsys, f"restored from {kind}: {2 * WRITES} acknowledged, {len(lost)} lost")
            assert not lost


@in_many_rounds
async def test_rows_that_are_not_those_of_the_backup_are_refused_on_an_empty_machine(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with far_store("sftp", tmp_path) as far:
        with state_folder() as root:
            kept = KeptBackups(root, cluster, far.settings)
            await kept.plant()
            async with keeping(kept):
                await kept.backed_up()
            await alter_digests(kept)
            write_secret(tmp_path / "recovery.key", kept.recovery.reveal())
        with state_folder() as root:
            refused = await asyncio.to_thread(run_restore, root, far, tmp_path)
            assert refused.status == 1
            assert "The restored tables are not those of the backup" in refused.errors
            assert not list(root.glob("members/*"))
            taken = await asyncio.to_thread(run_restore, root, far, tmp_path, "--even-different")
            assert taken.status == 0, taken.errors
            assert json.loads(taken.output)["facts"]["differences"]


async def alter_digests(kept: KeptBackups) -> None:
    """As if the backup had noted one row more than the restore shows."""
    store = await kept.store()
    try:
        vault = Vault(store, backup_key(kept.recovery))
        (backup,) = (await vault.inventory()).catalogue.backups
        assert backup.digests is not None
        first, *others = backup.digests.tables
        tables = (msgspec.structs.replace(first, rows=first.rows + 1), *others)
        digests = msgspec.structs.replace(backup.digests, tables=tables)
        await vault.put_manifest(msgspec.structs.replace(backup, digests=digests))
    finally:
        await store.close()
