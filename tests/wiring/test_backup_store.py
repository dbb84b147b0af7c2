"""A store to restore from, and what somebody is told who names another one, or brings another key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from troth.core.secret import Secret
from troth.data.backups.manifest import BASE
from troth.data.stores.opening import StoreSettings
from troth.data.stores.store import StoreError
from troth.wiring.backup_store import folder_url, open_kept, open_part

OURS, ANOTHER = Secret(b"a" * 32), Secret(b"b" * 32)


async def pieces() -> AsyncIterator[bytes]:
    yield b"sealed"


async def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no folder"):
        await open_kept(StoreSettings(url=folder_url(tmp_path / "none")), OURS)
    assert not (tmp_path / "none").exists()


async def test_backups_of_another_recovery_key_are_not_called_none(tmp_path: Path) -> None:
    settings = StoreSettings(url=folder_url(tmp_path))
    mine = await open_part(settings, OURS)
    await mine.put(f"{BASE}one", pieces())
    await mine.close()
    with pytest.raises(StoreError, match="is of another recovery key"):
        await open_kept(settings, ANOTHER)
    kept = await open_kept(settings, OURS)
    assert [entry.name for entry in await kept.list(BASE)] == [f"{BASE}one"]
    await kept.close()


async def test_an_empty_store_is_opened(tmp_path: Path) -> None:
    kept = await open_kept(StoreSettings(url=folder_url(tmp_path)), OURS)
    assert await kept.list() == ()
    await kept.close()
