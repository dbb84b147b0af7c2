"""Keys: a root key in a file, a key for each tenant wrapped under it, and the service that seals with them.

    root key and epoch (files) ── wrap ──> tenant key 1…n ── HKDF ──> sealing key ── XAES prefix ──> data key
                                                          └─ HKDF ──> an index key for each purpose

Rows name the key version they were sealed under; new rows take the newest.
"""

import asyncio
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from troth.core.errors import PlatformError
from troth.core.secret import Secret, read_secret, write_secret
from troth.data.sealing import KEY_BYTES, DerivedKeys, SealError, SealingKey, bind, read_header

ROOT_VERSION = 1
"""Key version in the header of a tenant key that is wrapped under the root key by itself."""

_ADD_TRIES = 3
"""An epoch lasts for days: that it ends between two tries once is rare, and twice does not happen."""


def make_root_key(path: Path, *, sealed: bool = False) -> bool:
    """Make the root key at the first start; whether it was made. One that is there already stays as it is.

    `sealed` says that data sealed under an earlier root key exists. Raises PlatformError when that key is
    missing then: a new one would open none of it, and hide the loss until the first read.

    """
    if path.exists():
        return False
    if sealed:
        raise PlatformError(
            f"The root key {path} is missing, but there is data that was sealed under it.",
            hint="Restore it from where you keep your recovery keys, or start with an empty state folder.",
        )
    make_key(path)
    return True


def make_key(path: Path) -> None:
    """Make a random key in a file, unless there is one.

    The file appears under its name complete and synced, or not at all: `os.link` refuses an existing name,
    so that two starts at once agree on one key.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_secret(fresh, secrets.token_bytes(KEY_BYTES))
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_root_key(path: Path) -> Secret:
    """The root key. Raises PlatformError when it is missing, open to others or no key."""
    key = read_secret(path)
    if len(key.reveal()) != KEY_BYTES:
        raise PlatformError(
            f"The root key {path} does not hold {KEY_BYTES} bytes.",
            hint="Restore it from where you keep your recovery keys; nothing stored opens without it.",
        )
    return key


class KeyDatabase(Protocol):
    """The part of `core.db.Database` that is needed here."""

    async def fetch(self, query: str, *args: object, idempotent: bool | None = None) -> list[Any]: ...


class Wraps(Protocol):
    """Wraps and unwraps tenant keys; see `data.epochs`."""

    def wrap(self, key: bytes, binding: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, binding: bytes) -> bytes:
        """Raises SealError for what does not open."""
        ...


class RootAlone:
    """The root key by itself, as it wraps where there are no epochs."""

    def __init__(self, root: Secret) -> None:
        self._key = SealingKey(root, ROOT_VERSION)

    def wrap(self, key: bytes, binding: bytes) -> bytes:
        return self._key.seal(key, binding)

    def unwrap(self, wrapped: bytes, binding: bytes) -> bytes:
        return self._key.open(wrapped, binding)


class TenantKeys:
    """All versions of one tenant's key, opened. Every use names its purpose."""

    __slots__ = ("_indexes", "_keys", "_tenant", "loaded_at", "newest")

    def __init__(self, tenant: UUID, keys: dict[int, tuple[Secret, SealingKey]], *, loaded_at: float) -> None:
        self._tenant = tenant
        self._keys = keys
        self._indexes: dict[str, hmac.HMAC] = {}
        self.newest = max(keys)
        self.loaded_at = loaded_at

    def __repr__(self) -> str:
        return f"TenantKeys({self._tenant}, versions={sorted(self._keys)})"

    def knows(self, version: int) -> bool:
        return version in self._keys

    def seal(self, purpose: str, plaintext: bytes, *context: bytes) -> bytes:
        """Seal under the newest version, for this tenant, purpose and context alone."""
        return self._keys[self.newest][1].seal(plaintext, bind(purpose, self._tenant, *context))

    def open(self, purpose: str, sealed: bytes, *context: bytes) -> bytes:
        """Open what was sealed for the same purpose and context. Raises SealError."""
        found = self._keys.get(int.from_bytes(sealed[4:8], "big"))
        if found is None:
            raise SealError(detail="sealed under a key version that is not stored")
        return found[1].open(sealed, bind(purpose, self._tenant, *context))

    def index(self, purpose: str, value: bytes) -> bytes:
        """HMAC-SHA-256 under a key of this purpose: equal values are found, none can be read or guessed.

        Always under version 1, so that what was indexed before a rotation is still found after it.
        """
        keyed = self._indexes.get(purpose)
        if keyed is None:
            key = subkey(self._keys[1][0], b"troth index 1", purpose.encode())
            keyed = self._indexes[purpose] = hmac.HMAC(key, hashes.SHA256())
        mac = keyed.copy()
        mac.update(value)
        return mac.finalize()


class KeyRing:
    """The tenants' keys, read from the database, unwrapped and kept for a while.

    At most `limit` tenants are kept, each for `keep_seconds`; a rotation by another process is seen when that
    time is over or a row names a version that is not known yet.
    """

    def __init__(
        self,
        database: KeyDatabase,
        wraps: Wraps | Secret,
        *,
        limit: int = 1024,
        keep_seconds: float = 300.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._wraps: Wraps = RootAlone(wraps) if isinstance(wraps, Secret) else wraps
        self._limit = limit
        self._keep_seconds = keep_seconds
        self._monotonic = monotonic
        self._tenants: OrderedDict[UUID, TenantKeys] = OrderedDict()
        self._derived = DerivedKeys()
        self._loading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"KeyRing({len(self._tenants)} tenants)"

    def cached(self, tenant: UUID) -> TenantKeys | None:
        """The keys if they are at hand and fresh; spares the hot path a coroutine."""
        keys = self._tenants.get(tenant)
        if keys is None or self._monotonic() - keys.loaded_at > self._keep_seconds:
            return None
        self._tenants.move_to_end(tenant)
        return keys

    async def keys(self, tenant: UUID) -> TenantKeys:
        """The tenant's keys; the first call for a new tenant makes version 1."""
        return self.cached(tenant) or await self._load(tenant)

    async def keys_for(self, tenant: UUID, sealed: bytes) -> TenantKeys:
        """The tenant's keys, read again when the message names a version that is not known here yet."""
        keys = await self.keys(tenant)
        if keys.knows(read_header(sealed).key_version):
            return keys
        return await self._load(tenant, than=keys)

    async def rotate(self, tenant: UUID) -> int:
        """Add a version; new messages are sealed under it, older ones still open. Returns its number."""
        keys = await self.keys(tenant)
        await self._add(tenant, keys.newest + 1)
        return (await self._load(tenant, than=keys)).newest

    async def _load(self, tenant: UUID, *, than: TenantKeys | None = None) -> TenantKeys:
        """Read and unwrap, once however many callers wait; `than` is what a caller found too old."""
        async with self._loading:
            known = self.cached(tenant)
            if known is not None and known is not than:
                return known
            keys = await self._read(tenant)
            self._tenants[tenant] = keys
            self._tenants.move_to_end(tenant)
            if len(self._tenants) > self._limit:
                self._tenants.popitem(last=False)
            return keys

    async def _read(self, tenant: UUID) -> TenantKeys:
        """Raises SealError when a key does not open: read once more, for its epoch may have ended between
        the reading and the opening."""
        try:
            return self._unwrap(tenant, await self._rows(tenant))
        except SealError:
            return self._unwrap(tenant, await self._rows(tenant))

    async def _rows(self, tenant: UUID) -> list[Any]:
        rows = await self._database.fetch("select * from troth.tenant_keys($1)", tenant)
        return rows or await self._add(tenant, 1)

    async def _add(self, tenant: UUID, version: int) -> list[Any]:
        """Store a new key unless another process was faster; returns what is stored.

        The database takes none that is wrapped under an epoch which has ended meanwhile: what is sealed under
        it would never open again. Raises PlatformError when it refuses each of several tries.
        """
        for _ in range(_ADD_TRIES):
            wrapped = self._wraps.wrap(secrets.token_bytes(KEY_BYTES), wrapping(tenant, version))
            rows = await self._database.fetch(
                "select * from troth.tenant_key_add($1, $2, $3)", tenant, version, wrapped, idempotent=True
            )
            if any(int(row["version"]) >= version for row in rows):
                return rows
        raise PlatformError(
            "The database takes no key of the epoch that this process knows: a later one is in use.",
            hint="Do two platforms with folders of their own use one database?",
        )

    def _unwrap(self, tenant: UUID, rows: list[Any]) -> TenantKeys:
        keys: dict[int, tuple[Secret, SealingKey]] = {}
        for row in rows:
            version = int(row["version"])
            try:
                key = Secret(self._wraps.unwrap(row["wrapped"], wrapping(tenant, version)))
            except SealError as error:
                why = f": {error.detail}" if error.detail else ""
                raise SealError(
                    detail=f"the root key does not open key {version} of tenant {tenant}{why}"
                ) from None
            sealing = Secret(subkey(key, b"troth seal 1", b""))
            keys[version] = (
                key,
                SealingKey(sealing, version, derived=self._derived, monotonic=self._monotonic),
            )
        return TenantKeys(tenant, keys, loaded_at=self._monotonic())


class Sealer:
    """Seals and opens for any room: tenant, purpose and context must be the same at both times."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def seal(self, tenant: UUID, purpose: str, plaintext: bytes, context: bytes) -> bytes:
        """Seal for this tenant, purpose and context (e.g. the row's id)."""
        return (await self._ring.keys(tenant)).seal(purpose, plaintext, context)

    async def open(self, tenant: UUID, purpose: str, sealed: bytes, context: bytes) -> bytes:
        """Open. Raises SealError when anything does not fit."""
        return (await self._ring.keys_for(tenant, sealed)).open(purpose, sealed, context)

    async def blind_index(self, tenant: UUID, purpose: str, value: bytes) -> bytes:
        """A blind index of 32 bytes: the same for equal values of one tenant and purpose."""
        return (await self._ring.keys(tenant)).index(purpose, value)


def wrapping(tenant: UUID, version: int) -> bytes:
    """What a wrapped tenant key is bound to."""
    return bind("tenant-key", tenant, str(version).encode())


def subkey(key: Secret, label: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869). A label ends in its version number, a purpose follows after a zero byte."""
    info = label + b"\x00" + purpose
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key.reveal())
