"""The backup store that troth.toml names, or the command line: this platform's part of it."""

from pathlib import Path
from urllib.parse import urlsplit

from troth.core.secret import Secret, read_secret
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.manifest import BASE
from troth.data.backups.vault import PartOfStore
from troth.data.recovery import fingerprint
from troth.data.stores.opening import StoreSettings, folder_of, open_store
from troth.data.stores.store import Store, StoreError
from troth.data.stores.waiting import Patience


def store_settings(settings: BackupSettings, state: State, patience: Patience | None = None) -> StoreSettings:
    """Without a store named: a folder beside the state folder, on this same machine."""
    beside = state.root.with_name(f"{state.root.name}-backups")
    credentials = read_secret(settings.credentials) if settings.credentials is not None else None
    return StoreSettings(
        url=settings.store or folder_url(beside),
        region=settings.region,
        endpoint=settings.endpoint,
        ca=settings.ca,
        credentials=credentials,
        bandwidth=settings.bandwidth,
        lock_days=settings.lock_days,
        patience=patience or Patience(),
    )


def folder_url(folder: Path) -> str:
    """`file:///folder`."""
    return folder.absolute().as_uri()


async def open_part(settings: StoreSettings, recovery: Secret) -> Store:
    """The part of the store that belongs to a recovery key. Raises StoreError."""
    return PartOfStore(await open_store(settings), fingerprint(recovery))


async def open_kept(settings: StoreSettings, recovery: Secret) -> Store:
    """The same, to restore from: a store that is not there is not made.

    Raises StoreError, also when there are backups of other recovery keys alone, which this one does not show.
    """
    parts = urlsplit(settings.url)
    if parts.scheme == "file" and not folder_of(parts).is_dir():
        raise StoreError(f"There is no folder {folder_of(parts)}.", hint="Name the store: --from URL")
    whole = await open_store(settings)
    try:
        part = PartOfStore(whole, fingerprint(recovery))
        if not await part.list(BASE) and await whole.list():
            raise StoreError(
                f"What lies in the {whole.place} is of another recovery key.",
                hint="Name the file with the key of the platform that made it: --recovery-key FILE",
            )
    except BaseException:
        await whole.close()
        raise
    return part
