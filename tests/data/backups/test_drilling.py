"""The drill of a real backup passes; with anything wrong in store, rows, keys or receipts it says what."""

import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from support.backup_site import Site, now
from support.rounds import in_many_rounds
from support.stores import LyingStore, pieces_of, read_all
from troth.core.secret import Secret, write_secret
from troth.core.settings import BackupSettings
from troth.data.backups.drilling import Drilled, remember
from troth.data.backups.fetching import Objects
from troth.data.backups.kept_keys import KEYS, gather, keep, outlived, read_kept
from troth.data.backups.manifest import WAL, data_name, manifest_name
from troth.data.backups.promise import Rereading, drills, judge_backups, look_at
from troth.data.backups.vault import Vault
from troth.data.recovery import backup_key, kept_keys_key
from troth.data.stores.folder import FolderStore


@pytest.fixture(scope="module")
async def site() -> AsyncGenerator[Site]:
    with tempfile.TemporaryDirectory(prefix="troth-drill-", dir="/tmp") as name:
        folder = Path(name)
        for part in ("server", "keys"):
            (folder / part).mkdir(mode=0o700)
        made = Site(folder, await FolderStore.open(folder / "store"), Secret(os.urandom(32)))
        try:
            await made.prepare()
            yield made
        finally:
            made.server.stop()


@pytest.fixture
async def spoiled(site: Site, tmp_path: Path) -> Path:
    """A copy of the store, to be spoiled."""
    shutil.copytree(site.folder / "store", tmp_path / "store")
    return tmp_path / "store"


async def test_a_good_backup_passes_and_tells_what_was_seen(site: Site) -> None:
    drilled = await site.drill()
    assert drilled.problem == ""
    assert (drilled.acknowledged, drilled.survived, drilled.canaries) == (4, 4, 4)
    assert drilled.rows == site.recorded.rows > 0
    assert drilled.tables == len(site.recorded.tables)
    assert drilled.newest


@in_many_rounds
@pytest.mark.chaos
async def test_rows_that_differ_from_what_was_recorded_fail_the_drill(site: Site) -> None:
    (first, *others) = site.recorded.tables
    altered = msgspec.structs.replace(first, rows=first.rows + 1)
    recorded = msgspec.structs.replace(site.recorded, tables=(altered, *others))
    drilled = await site.drill(recorded=recorded)
    assert f"{first.name} has {first.rows} rows instead of {first.rows + 1}" in drilled.problem


async def test_a_flipped_bit_fails_the_drill(site: Site, spoiled: Path) -> None:
    flip(spoiled / site.backup.files[0].name)
    drilled = await site.drill(store=await FolderStore.open(spoiled))
    assert "is damaged" in drilled.problem


async def test_a_store_that_shows_an_older_state_fails_the_drill(site: Site) -> None:
    drilled = await site.drill(backup="20991231T000000Z-00000000")
    assert "does not show backup 20991231T000000Z-00000000" in drilled.problem


@pytest.fixture
async def lying(spoiled: Path) -> LyingStore:
    """A store that will tell something else than it was given."""
    return LyingStore(await FolderStore.open(spoiled))


def newest_log(spoiled: Path) -> str:
    return f"{WAL}{max(path.name for path in (spoiled / WAL).iterdir())}"


@pytest.mark.parametrize(
    "what", ["data", "manifest", pytest.param("log", marks=[pytest.mark.chaos, in_many_rounds])]
)
async def test_an_object_that_ends_too_early_fails_the_drill(
    site: Site, lying: LyingStore, spoiled: Path, what: str
) -> None:
    """Its size in the store's lists is what it was: only who reads it to its end finds out."""
    names = {
        "data": data_name(site.backup.id),
        "manifest": manifest_name(site.backup.id),
        "log": newest_log(spoiled),
    }
    lying.truncated.add(names[what])
    drilled = await site.drill(store=lying)
    assert f"{names[what]} in the backup store is damaged" in drilled.problem
    assert (drilled.canaries, drilled.survived) == (0, 0)


async def test_an_older_object_under_the_same_name_fails_the_drill(site: Site, lying: LyingStore) -> None:
    """It was sealed with our key to that very name: what the manifest says of it tells them apart."""
    name = data_name(site.backup.id)
    newest = await read_all(lying.get(name))
    await Vault(lying, backup_key(site.recovery)).put_bytes(name, b"what was there before")
    await lying.put(name, pieces_of(newest))
    assert await read_all(lying.get(name)) == newest
    lying.stale.add(name)
    assert "is damaged" in (await site.drill(store=lying)).problem


async def test_an_object_in_place_of_another_fails_the_drill(site: Site, lying: LyingStore) -> None:
    """It was sealed with our key, of the same content: its name is part of the seal."""
    vault, name = Vault(lying, backup_key(site.recovery)), data_name(site.backup.id)
    other = data_name("20200101T000000Z-00000000")
    await vault.put(other, vault.pieces(name, limit=1 << 30))
    lying.swapped[name] = other
    assert "is damaged" in (await site.drill(store=lying)).problem


@in_many_rounds
@pytest.mark.chaos
async def test_a_store_that_hides_its_newest_log_fails_the_drill(
    site: Site, lying: LyingStore, spoiled: Path
) -> None:
    lying.hidden.add(newest_log(spoiled))
    drilled = await site.drill(store=lying)
    assert drilled.problem
    assert drilled.survived < len(site.log.receipts)


@in_many_rounds
@pytest.mark.chaos
async def test_keys_of_another_platform_fail_the_drill(site: Site, spoiled: Path, tmp_path: Path) -> None:
    store = await FolderStore.open(spoiled)
    (tmp_path / "keys").mkdir(mode=0o700)
    write_secret(tmp_path / "keys" / "root.key", os.urandom(32))
    await keep(store, kept_keys_key(site.recovery), gather(tmp_path / "keys"), now())
    drilled = await site.drill(store=store)
    assert not drilled.passed
    assert drilled.canaries == 0


@in_many_rounds
@pytest.mark.chaos
async def test_a_lost_acknowledged_write_fails_the_drill(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = msgspec.structs.replace(site.log.receipts[0], number=2_000_000, lsn=site.log.receipts[0].lsn)
    monkeypatch.setattr(site.log, "receipts", [*site.log.receipts, lost])
    drilled = await site.drill()
    assert "4 of 5 acknowledged writes survived" in drilled.problem


async def test_the_probe_is_red_for_a_flipped_bit_and_green_once_it_is_mended(
    site: Site, spoiled: Path
) -> None:
    store = await FolderStore.open(spoiled)
    view = site.view(store, passed(site))
    assert (await look_at(view, Rereading())).verdict == "proved"
    victim = spoiled / site.backup.files[0].name
    flip(victim)
    red = await look_at(view, Rereading())
    assert (red.verdict, "SHA-256 differs" in red.evidence) == ("broken", True)
    flip(victim)
    assert (await look_at(view, Rereading())).verdict == "proved"
    victim.rename(victim.with_suffix(".away"))
    red = await look_at(view, Rereading())
    assert (red.verdict, "is gone from the store" in red.evidence) == ("broken", True)


async def test_the_drill_of_the_promise_turns_it_red_and_touches_nothing(site: Site, spoiled: Path) -> None:
    before = content(spoiled)
    store = await FolderStore.open(spoiled)
    (one,) = drills(site.view(store, passed(site)))
    async with one.broken() as probe:
        assert (await probe.look()).verdict == "broken"
    assert content(spoiled) == before


def passed(site: Site, **changes: object) -> Drilled:
    drilled = Drilled(backup=site.backup.id, at=now().isoformat(), seconds=1.0, rows=3)
    return msgspec.structs.replace(drilled, **changes)


async def test_a_failed_or_missing_or_overdue_drill_is_told(site: Site) -> None:
    seen = await Rereading().look(site.store, Objects(site.store, backup_key(site.recovery)))
    settings = BackupSettings(incremental_minutes=60)

    def verdict(drilled: tuple[Drilled, ...], later: timedelta = timedelta()) -> str:
        return judge_backups(settings, seen, drilled, now() + later, here=True).verdict

    assert verdict((passed(site),)) == "proved"
    assert verdict(()) == "unknown"
    assert verdict((passed(site, problem="It did not come up."),)) == "broken"
    assert verdict((passed(site, backup="another"),), timedelta(minutes=31)) == "broken"
    assert verdict((passed(site),), timedelta(minutes=10)) == "broken"  # nothing was shipped for so long
    assert verdict((passed(site),), timedelta(hours=2)) == "broken"


async def test_without_settings_the_promise_is_unknown_and_says_what_to_write(site: Site) -> None:
    view = msgspec.structs.replace(site.view(site.store, passed(site)), settings=None)
    finding = await look_at(view, Rereading())
    assert (finding.verdict, "[backup]" in finding.evidence) == ("unknown", True)


async def test_kept_keys_are_stored_once_and_open_under_their_own_key_alone(site: Site) -> None:
    key = kept_keys_key(site.recovery)
    keys = gather(site.folder / "keys")
    assert await read_kept(site.store, key) == keys
    assert not await keep(site.store, key, keys, now())
    names = [entry.name for entry in await site.store.list(KEYS)]
    assert len(names) == 1
    assert outlived([*names, f"{KEYS}20200101T000000.000000Z"], now(), 30) == (
        f"{KEYS}20200101T000000.000000Z",
    )


def test_the_history_is_bounded() -> None:
    one = Drilled(backup="b", at="2026-11-25T00:00:00Z", seconds=1.0)
    history: tuple[Drilled, ...] = ()
    for _ in range(60):
        history = remember(history, one)
    assert len(history) == 50


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
