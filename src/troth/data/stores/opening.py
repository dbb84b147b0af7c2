"""Which store a configuration names, and opening it."""

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from troth.core.clock import Clock, SystemClock
from troth.core.secret import Secret
from troth.data.stores.bandwidth import Throttle
from troth.data.stores.credentials import access_key
from troth.data.stores.folder import FolderStore
from troth.data.stores.s3 import S3Place, S3Store
from troth.data.stores.sftp import SftpPlace, SftpStore
from troth.data.stores.store import Store, StoreError
from troth.data.stores.waiting import Patience

FORMS: Final = "file:///folder, s3://bucket/prefix or sftp://user@host:port/folder"


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where backups go, and how fast.

    `url` is one of FORMS, without a password. `endpoint` and `region` are for S3. `ca` is how the store is
    known where no public authority vouches for it: a certificate for S3, a known_hosts file for SFTP.
    `credentials` is the content of the file that was named. `bandwidth` is in
    bytes a second, 0 for as fast as it goes; `lock_days` keeps objects from being deleted for so long.
    """

    url: str
    region: str = ""
    endpoint: str = ""
    ca: Path | None = None
    credentials: Secret | None = None
    bandwidth: int = 0
    lock_days: int = 0
    patience: Patience = Patience()


async def open_store(settings: StoreSettings, *, clock: Clock | None = None) -> Store:
    """The store, reached and ready. Raises StoreError when it is not, or cannot do what is asked of it."""
    parts = urlsplit(settings.url)
    throttle = Throttle(settings.bandwidth)
    if parts.scheme == "file":
        _refuse_lock(settings, "A folder")
        return await FolderStore.open(folder_of(parts), patience=settings.patience, throttle=throttle)
    if parts.scheme == "s3":
        return await S3Store.open(
            S3Place(settings.endpoint, settings.region, parts.netloc, unquote(parts.path)),
            access_key(settings.credentials),
            clock=clock or SystemClock(),
            ca=settings.ca,
            patience=settings.patience,
            throttle=throttle,
            lock_days=settings.lock_days,
        )
    if parts.scheme == "sftp":
        _refuse_lock(settings, "An SFTP server")
        return await _open_sftp(settings, parts, throttle)
    what = f"“{parts.scheme}” is no kind of backup store." if parts.scheme else "This names no backup store."
    raise StoreError(what, hint=f"Write {FORMS}.")


async def _open_sftp(settings: StoreSettings, parts: SplitResult, throttle: Throttle) -> Store:
    place = sftp_place(parts)
    if settings.ca is None:
        raise StoreError(
            f"Nothing says which key {place.host} has.",
            hint="Name a known_hosts file in [backup] ca, with a line that its administrator has confirmed.",
        )
    if settings.credentials is None:
        raise StoreError(
            f"There are no credentials for {place.host}.",
            hint="Name a file in [backup] credentials that holds a private key, or a password.",
        )
    return await SftpStore.open(
        place, settings.credentials, settings.ca, patience=settings.patience, throttle=throttle
    )


def sftp_place(parts: SplitResult) -> SftpPlace:
    """What `sftp://user@host:port/folder` names. Raises StoreError when a part is missing or too much."""
    folder = unquote(parts.path)
    try:
        port = parts.port or 22
    except ValueError:
        port = 0
    if not (parts.username and parts.hostname and port and folder.strip("/")) or parts.password:
        raise StoreError(
            "An SFTP store has a user, a host and a folder, and no password in its address.",
            hint="Write sftp://user@host:22/folder, and the password into the file of [backup] credentials.",
        )
    return SftpPlace(unquote(parts.username), parts.hostname, port, folder)


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
