"""An empty machine, the store and the recovery key: the runbook is executed, and people sign in again."""

import asyncio
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support import console
from support.backups import BackedUp, OnePlatform
from support.person import signed_in, ticket
from support.platform import ANNA, EXAMPLE, Troth, ended, state_folder, until
from support.rounds import in_many_rounds
from troth.core.db import Database
from troth.data.backups.kept_keys import gather, keep
from troth.data.recovery import backup_key, fingerprint, kept_keys_key, read_recovery_key
from troth.data.roles import SUPERUSER
from troth.data.stores.folder import FolderStore

RUNBOOK = Path(__file__).parents[2] / "docs" / "restore.md"

pytestmark = [pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "members", [1, pytest.param(3, marks=[pytest.mark.chaos, in_many_rounds])], ids=["one", "three"]
)
async def test_the_runbook_brings_everything_back_on_an_empty_machine(tmp_path: Path, members: int) -> None:
    with state_folder() as root:
        lost = Troth(root, members=1)
        with ended(lost):
            done = lost.up("--detach")
            assert done.status == 0, done.output + done.errors
            async with signed_in(lost, ANNA) as anna:
                filed = await anna.call("POST", "tickets", json=ticket("Lift"))
            assert filed.status_code == 201, filed.text
            await has_canaries(lost)
            await store_everything(lost, tmp_path)
        shutil.rmtree(root)
        found = Troth(root, members=members)
        write_configuration(found, tmp_path)
        with ended(found):
            outcomes = console.run(
                RUNBOOK, environment=surroundings(root, tmp_path), folder=tmp_path, seconds=300
            )
            faults = [outcome.fault for outcome in outcomes if outcome.fault]
            assert not faults, "\n\n".join(faults)
            async with signed_in(found, ANNA) as anna:
                tickets = await anna.all("tickets")
            assert "Lift" in [one["title"] for one in tickets]
            await found.whole(seconds=180)  # every other member was built from the restored one, and follows


async def has_canaries(running: Troth) -> None:
    database = await Database.open(running.database(SUPERUSER), max_size=1)

    async def count() -> int:
        return await database.fetchval("select count(*) from troth.canary_row")

    try:
        await until(count, lambda found: found > 1, seconds=60, what="canaries are written")
    finally:
        await database.close()


async def store_everything(running: Troth, folder: Path) -> None:
    """A full backup, the log behind it up to a piece of a segment, and the keys."""
    recovery = read_recovery_key(running.state.recovery_key)
    shutil.copyfile(running.state.recovery_key, folder / "recovery.key")
    (folder / "recovery.key").chmod(0o600)
    store = await FolderStore.open(folder / "store" / fingerprint(recovery))
    (folder / "work").mkdir(mode=0o700)
    source = BackedUp(OnePlatform(running, folder / "work"), store, backup_key(recovery))
    await keep(store, kept_keys_key(recovery), gather(running.state.keys), datetime.now(UTC))
    await source.back_up()
    await source.ship_piece()
    await asyncio.to_thread(shutil.rmtree, folder / "work")


def write_configuration(running: Troth, folder: Path) -> None:
    """The example as its owner has it on the new machine, on ports that are free here."""
    shutil.copytree(EXAMPLE.parent, folder, dirs_exist_ok=True)
    text = (folder / "troth.toml").read_text()
    ports = f"https_port = {running.https_port}\nhttp_port = {running.http_port}\n"
    text = text.replace("[edge]\n", f"[edge]\n{ports}", 1)
    text = text.replace("\nmembers = 3\n", f"\nmembers = {running.members}\n", 1)
    (folder / "troth.toml").write_text(text)


def surroundings(root: Path, folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "TROTH_STATE": str(root),
        "STORE": (folder / "store").as_uri(),
        "RECOVERY_KEY": str(folder / "recovery.key"),
    }
