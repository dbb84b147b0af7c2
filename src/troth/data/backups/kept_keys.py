"""The keys that a restore needs, in the store apart from the backups: sealed under a key of their own, and
removed on a schedule of their own.

    keys/<instant>     every file of the state's key folder but the recovery key itself, the keys of epochs,
                       and every tenant's key, wrapped

Without the root key and an epoch no tenant's key opens, and without the tenant's key no row does. The newest
object is the one that counts, whatever age the backup has; older ones go once they have had their days, so
that a key that was destroyed on purpose does not lie in the store for as long as the backups do.
"""

import base64
import re
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.secret import Secret, read_secret, write_secret
from troth.data.archive import context_of, open_stream, seal_stream
from troth.data.epochs import Epochs, HeldEpochs, TenantKey, destroy, numbers, read_epochs, sync
from troth.data.sealing import SealError
from troth.data.stores.store import Store

KEYS = "keys/"
LIMIT = 256 * 1024 * 1024
"""More than a million tenants have."""

EPOCHS = "epochs"
"""The folder of the epochs inside the key folder (`data.epochs.folder_beside`)."""

_LEFT_OUT = "recovery"
"""The recovery key opens this object: inside it, it would be of no use to anybody but a thief."""

_INSTANT = "%Y%m%dT%H%M%S.%fZ"
_EPOCH = re.compile(rf"{EPOCHS}/([1-9][0-9]{{0,9}})\.key")


class KeptKeys(msgspec.Struct, frozen=True):
    """Files of the key folder by name, base64, and the tenants' wrapped keys as they were at `at`; an object
    that was written before there were epochs has None."""

    files: dict[str, str]
    tenants: tuple[TenantKey, ...] = ()
    at: datetime | None = None

    def __repr__(self) -> str:
        return f"KeptKeys({', '.join(sorted(self.files))}; {len(self.tenants)} tenant keys)"

    def secret(self, name: str) -> Secret:
        """One file. Raises PlatformError when it is not there."""
        if name not in self.files:
            raise PlatformError(f"The kept keys have no {name}.", hint="Is this the store of this platform?")
        return Secret(base64.b64decode(self.files[name]))

    @property
    def epochs(self) -> Epochs:
        """What opens the tenants' keys. Raises PlatformError when there is no root key."""
        held = {int(found[1]): self.secret(name) for name in self.files if (found := _EPOCH.fullmatch(name))}
        return Epochs(self.secret("root.key"), HeldEpochs(held))

    def same_as(self, other: "KeptKeys | None") -> bool:
        """Whether a restore would have the same from both."""
        return other is not None and (self.files, self.tenants) == (other.files, other.tenants)


def gather(folder: Path, tenants: tuple[TenantKey, ...] = (), at: datetime | None = None) -> KeptKeys:
    """What is kept: the files, and the tenants' keys that were read at `at`. Raises PlatformError for a file
    that others may read.

    An epoch whose key is not used yet is kept as one that is: after a restore nothing is wrapped under less.
    """
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not _is_left_out(path.name))
    secrets = {path.name: read_secret(path) for path in paths}
    secrets |= {f"{EPOCHS}/{number}.key": key for number, key in read_epochs(folder / EPOCHS).items()}
    files = {name: base64.b64encode(secret.reveal()).decode() for name, secret in secrets.items()}
    return KeptKeys(files, tenants, at)


def lay_down(keys: KeptKeys, folder: Path) -> None:
    """Write the files, for their owner alone, in place of those that are there. An epoch that was not kept
    goes: the store does not know it, and it must not come to be used."""
    for name in keys.files:
        if ("/" in name and not _EPOCH.fullmatch(name)) or _is_left_out(name):
            raise PlatformError(f"The kept keys hold {name[:60]!r}, which is no file of theirs.")
    epochs = folder / EPOCHS
    epochs.mkdir(mode=0o700, exist_ok=True)
    for name in keys.files:
        write_secret(folder / name, keys.secret(name).reveal())
    kept = {int(found[1]) for name in keys.files if (found := _EPOCH.fullmatch(name))}
    destroy(epochs, tuple(number for number, _ in numbers(epochs) if number not in kept))
    for number, used in numbers(epochs):
        if not used:
            (epochs / f"{number}.next").unlink()
    sync(epochs)


async def keep(store: Store, key: Secret, keys: KeptKeys, now: datetime) -> bool:
    """Store the keys unless the newest object holds the same ones; whether that was needed."""
    if keys.same_as(await read_kept(store, key)):
        return False
    name = _name_after(max((entry.name for entry in await store.list(KEYS)), default=""), now)
    body = msgspec.json.encode(keys, order="sorted")
    await store.put(name, seal_stream(key, _once(body), context_of("keys", name)))
    return True


async def read_kept(store: Store, key: Secret) -> KeptKeys | None:
    """The newest kept keys; None when there are none. Raises PlatformError when they do not open."""
    names = [entry.name for entry in await store.list(KEYS)]
    if not names:
        return None
    name = max(names)
    sealed = store.get(name)
    try:
        body = b"".join([p async for p in open_stream(key, sealed, context_of("keys", name), limit=LIMIT)])
        return msgspec.json.decode(body, type=KeptKeys)
    except (SealError, msgspec.MsgspecError):
        raise PlatformError(
            f"{name} in the backup store does not open.",
            hint="It was changed, or it belongs to another recovery key.",
        ) from None


def outlived(names: Iterable[str], now: datetime, days: int) -> tuple[str, ...]:
    """Objects that have had their days; the newest never has."""
    ordered = sorted(name for name in names if name.startswith(KEYS))
    bound = _name(now - timedelta(days=days))
    return tuple(name for name in ordered[:-1] if name < bound)


def _name(at: datetime) -> str:
    return f"{KEYS}{at.astimezone(UTC):{_INSTANT}}"


def _name_after(newest: str, now: datetime) -> str:
    """A clock that was set back must not make the keys of now look older than those of before."""
    if _name(now) > newest:
        return _name(now)
    try:
        latest = datetime.strptime(newest, f"{KEYS}{_INSTANT}").replace(tzinfo=UTC)
    except ValueError:
        raise PlatformError(
            f"{newest[:80]!r} in the backup store is not named as kept keys are.",
            hint="A restore would take it for the newest keys. Whoever put it there must take it away.",
        ) from None
    return _name(latest + timedelta(microseconds=1))


def _is_left_out(name: str) -> bool:
    return name.startswith((".", _LEFT_OUT))


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
