"""The backup store that troth.toml names, or the command line: this platform's part of it."""

from pathlib import Path

from troth.core.secret import Secret, read_secret
from troth.core.settings import BackupSettings
from troth.core.state import State
from troth.data.backups.vault import PartOfStore
from troth.data.recovery import fingerprint
from troth.data.stores.opening import StoreSettings, open_store
from troth.data.stores.store import Store
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
