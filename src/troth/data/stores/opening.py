"""Which store a configuration names, and opening it."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from troth.core.secret import Secret
from troth.data.stores.folder import FolderStore
from troth.data.stores.store import Store, StoreError
from troth.data.stores.waiting import Patience

FORMS: Final = "file:///folder, s3://bucket/prefix or sftp://user@host:port/folder"


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where backups go, and how fast.

    `url` is one of FORMS, without a password. `endpoint` and `region` are for S3, `known_hosts` for SFTP;
    `ca` is for an endpoint whose certificate no public authority has signed. `credentials` is the content of
    the file that was named, or what the environment held. `bandwidth` is in bytes a second, 0 for as fast
    as it goes; `lock_days` keeps objects from being deleted or replaced for so long, 0 for not at all.
    """

    url: str
    region: str = ""
    endpoint: str = ""
    ca: Path | None = None
    known_hosts: Path | None = None
    credentials: Secret | None = None
    bandwidth: int = 0
    lock_days: int = 0
    patience: Patience = Patience()


async def open_store(settings: StoreSettings) -> Store:
    """The store, reached and ready. Raises StoreError when it is not, or cannot do what is asked of it."""
    parts = urlsplit(settings.url)
    if parts.scheme == "file":
        _refuse_lock(settings, "A folder")
        return await FolderStore.open(folder_of(parts), patience=settings.patience)
    raise StoreError(f"“{parts.scheme}” is no kind of backup store.", hint=f"Write {FORMS}.")


def folder_of(parts: SplitResult) -> Path:
    """The folder that `file:///path` names. Raises StoreError for anything but an absolute path."""
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute() or path == Path("/"):
        raise StoreError(
            "A backup folder is named by its whole path.", hint="Write file:///path/of/the/folder."
        )
    return path


def _refuse_lock(settings: StoreSettings, what: str) -> None:
    if settings.lock_days:
        raise StoreError(
            f"{what} cannot lock objects against deletion.",
            hint="Take an S3 store with object lock, or leave lock_days out.",
        )
