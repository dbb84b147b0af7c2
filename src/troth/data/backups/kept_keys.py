"""The keys that a restore needs, in the store apart from the backups: sealed under a key of their own, and
removed on a schedule of their own.

    keys/<instant>     every file of the state's key folder but the recovery key itself

Without the root key no tenant's key opens, and without the tenant's key no row does. The newest object is the
one that counts; older ones go once they have had their days, so that a key that was destroyed on purpose does
not lie in the store for as long as the backups do.
"""

import base64
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.secret import Secret, read_secret, write_secret
from troth.data.archive import context_of, open_stream, seal_stream
from troth.data.sealing import SealError
from troth.data.stores.store import Store

KEYS = "keys/"
LIMIT = 4 * 1024 * 1024
"""More than all key files have."""

_LEFT_OUT = "recovery"
"""The recovery key opens this object: inside it, it would be of no use to anybody but a thief."""


class KeptKeys(msgspec.Struct, frozen=True):
    """Files of the key folder by name, base64."""

    files: dict[str, str]

    def __repr__(self) -> str:
        return f"KeptKeys({', '.join(sorted(self.files))})"

    def secret(self, name: str) -> Secret:
        """One file. Raises PlatformError when it is not there."""
        if name not in self.files:
            raise PlatformError(f"The kept keys have no {name}.", hint="Is this the store of this platform?")
        return Secret(base64.b64decode(self.files[name]))


def gather(folder: Path) -> KeptKeys:
    """The files that are kept. Raises PlatformError for one that others may read."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not _is_left_out(path.name))
    return KeptKeys({path.name: base64.b64encode(read_secret(path).reveal()).decode() for path in files})


def lay_down(keys: KeptKeys, folder: Path) -> None:
    """Write the files, for their owner alone, in place of those that are there."""
    for name in keys.files:
        if "/" in name or _is_left_out(name):
            raise PlatformError(f"The kept keys hold {name[:60]!r}, which is no file of theirs.")
        write_secret(folder / name, keys.secret(name).reveal())


async def keep(store: Store, key: Secret, keys: KeptKeys, now: datetime) -> bool:
    """Store the keys unless the newest object holds the same ones; whether that was needed."""
    if await read_kept(store, key) == keys:
        return False
    name = f"{KEYS}{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
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
    bound = f"{KEYS}{(now - timedelta(days=days)).astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
    return tuple(name for name in ordered[:-1] if name < bound)


def _is_left_out(name: str) -> bool:
    return name.startswith((".", _LEFT_OUT))


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
