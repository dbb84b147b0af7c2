"""Epochs: what tenant keys are wrapped under lies outside the database, is replaced, and is destroyed.

    root key ┐
    epoch n  ┴─ HKDF ──> wraps every tenant key, in the database and so in every backup of it

An old backup holds tenant keys wrapped under an old epoch. Once that epoch's key is destroyed, here and in
the store, the backup opens with the newest keys alone, and these have no key of a tenant that was erased.

    keys/epochs/3.key     in use: the highest number wraps
    keys/epochs/4.next    made, and not used before the store holds it

Epoch 1 is the root key by itself, as it was before there were epochs; it is never destroyed.
"""

import fcntl
import os
import re
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import msgspec

from troth.core.errors import PlatformError
from troth.core.secret import Secret, read_secret
from troth.data.keys import ROOT_VERSION, KeyDatabase, make_key, read_root_key, subkey, wrapping
from troth.data.sealing import KEY_BYTES, SealError, SealingKey, read_header

FIRST: Final = ROOT_VERSION + 1
"""The first epoch that has a key of its own."""

_PAGE: Final = 500
_FILE: Final = re.compile(r"([1-9][0-9]{0,9})\.(key|next)")


class TenantKey(msgspec.Struct, frozen=True):
    """One version of a tenant's key, wrapped."""

    tenant: UUID
    version: int
    wrapped: bytes

    def __repr__(self) -> str:
        return f"TenantKey({self.tenant}, {self.version})"

    @property
    def epoch(self) -> int:
        return read_header(self.wrapped).key_version


class EpochKeys(Protocol):
    """Where the keys of epochs are."""

    def newest(self) -> int:
        """The epoch in use; ROOT_VERSION when there is none."""
        ...

    def numbers(self) -> frozenset[int]:
        """Those whose keys are there."""
        ...

    def find(self, number: int) -> Secret | None:
        """The key of an epoch, None when it is over."""
        ...


class EpochFolder:
    """In files. It is looked at each time: another process may have begun one, or ended one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self) -> int:
        return newest_in(self._folder)

    def numbers(self) -> frozenset[int]:
        return frozenset(number for number, _ in numbers(self._folder))

    def find(self, number: int) -> Secret | None:
        return _read(self._folder / f"{number}.key") or _read(self._folder / f"{number}.next")


class HeldEpochs:
    """In memory, as they came from the store."""

    def __init__(self, keys: Mapping[int, Secret]) -> None:
        self._keys = dict(keys)

    def newest(self) -> int:
        return max(self._keys, default=ROOT_VERSION)

    def numbers(self) -> frozenset[int]:
        return frozenset(self._keys)

    def find(self, number: int) -> Secret | None:
        return self._keys.get(number)


class Epochs:
    """Wraps under the newest epoch, unwraps under any that is still there; see `data.keys.Wraps`."""

    def __init__(self, root: Secret, source: EpochKeys) -> None:
        self._root = root
        self._source = source
        self._keys: dict[int, SealingKey] = {ROOT_VERSION: SealingKey(root, ROOT_VERSION)}

    def __repr__(self) -> str:
        return f"Epochs({sorted(self._keys)})"

    @property
    def newest(self) -> int:
        """The epoch that wraps now."""
        return self._source.newest()

    @property
    def numbers(self) -> frozenset[int]:
        """Those that can be opened, the root key by itself too."""
        return self._source.numbers() | {ROOT_VERSION}

    def wrap(self, key: bytes, binding: bytes) -> bytes:
        return self._key(self.newest).seal(key, binding)

    def unwrap(self, wrapped: bytes, binding: bytes) -> bytes:
        """Raises SealError when its epoch is over, or anything does not fit."""
        return self._key(read_header(wrapped).key_version).open(wrapped, binding)

    def opens(self, key: TenantKey) -> bool:
        """Whether a tenant's key can be unwrapped."""
        try:
            self.unwrap(key.wrapped, wrapping(key.tenant, key.version))
        except SealError:
            return False
        return True

    def _key(self, number: int) -> SealingKey:
        if number not in self._keys:
            secret = self._source.find(number)
            if secret is None:
                raise SealError(detail=f"epoch {number} is over: its key was destroyed")
            both = Secret(self._root.reveal() + secret.reveal())
            self._keys[number] = SealingKey(
                Secret(subkey(both, b"troth epoch 1", str(number).encode())), number
            )
        return self._keys[number]


def open_epochs(root_key: Path) -> Epochs:
    """The epochs beside a root key file. Raises PlatformError when that cannot be read."""
    return Epochs(read_root_key(root_key), EpochFolder(folder_beside(root_key)))


def folder_beside(root_key: Path) -> Path:
    """Where the epochs of this root key lie."""
    return root_key.with_name("epochs")


def numbers(folder: Path) -> tuple[tuple[int, bool], ...]:
    """Each epoch that is there and whether it is in use, in order."""
    found = [_FILE.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    return tuple(sorted((int(match[1]), match[2] == "key") for match in found if match))


def newest_in(folder: Path) -> int:
    """The epoch in use; ROOT_VERSION when there is none."""
    return max((number for number, used in numbers(folder) if used), default=ROOT_VERSION)


def begin_first(folder: Path) -> None:
    """On a platform that has no data yet, so that nothing is ever wrapped under the root key by itself."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not numbers(folder):
        make_key(folder / f"{FIRST}.key")


def prepare_next(folder: Path) -> int:
    """Make the next epoch's key, or find the one that was made: it is not used yet. Returns its number."""
    folder.mkdir(mode=0o700, exist_ok=True)
    known = numbers(folder)
    newest = newest_in(folder)
    waiting = [number for number, used in known if not used and number > newest]
    if waiting:
        return waiting[-1]
    make_key(folder / f"{newest + 1}.next")
    return newest + 1


def use_next(folder: Path, number: int) -> None:
    """From now on tenant keys are wrapped under this epoch. Call it once the store holds its key."""
    waiting = folder / f"{number}.next"
    waiting.touch()  # its age counts from here
    waiting.rename(folder / f"{number}.key")
    sync(folder)


def ended(folder: Path) -> tuple[int, ...]:
    """Epochs before the one in use whose keys are still there."""
    newest = newest_in(folder)
    return tuple(sorted({number for number, _ in numbers(folder) if number < newest}))


def destroy(folder: Path, epochs: tuple[int, ...]) -> None:
    """Destroy the keys of these epochs; what is wrapped under them never opens again here.

    The bytes are overwritten first. A disk that writes elsewhere keeps them for a while all the same.
    """
    for number in epochs:
        for path in (folder / f"{number}.key", folder / f"{number}.next"):
            if path.exists():
                with path.open("r+b") as file:
                    file.write(bytes(KEY_BYTES))
                    os.fsync(file.fileno())
                path.unlink()
    sync(folder)


def read_epochs(folder: Path) -> dict[int, Secret]:
    """All keys that are there, the one that is not used yet too. Raises PlatformError for one that others may
    read, or that is none."""
    source = EpochFolder(folder)
    found = {number: source.find(number) for number, _ in numbers(folder)}
    return {number: key for number, key in found.items() if key is not None}


@contextmanager
def held(folder: Path) -> Generator[None]:
    """The folder for this process alone, while an epoch turns. Raises PlatformError when another has it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError("Another process is turning the epoch of the keys.") from None
        yield
    finally:
        os.close(handle)


async def pages(database: KeyDatabase) -> AsyncGenerator[list[tuple[TenantKey, float]]]:
    """Every wrapped tenant key with the time at which it was made (seconds since 1970), some at a time."""
    after: tuple[UUID, int] = (UUID(int=0), 0)
    while rows := await database.fetch(
        "select tenant_id, version, wrapped, extract(epoch from created_at)::float8 as made"
        " from troth.tenant_key where (tenant_id, version) > ($1, $2) order by tenant_id, version limit $3",
        *after,
        _PAGE,
    ):
        page = [
            (TenantKey(row["tenant_id"], int(row["version"]), bytes(row["wrapped"])), float(row["made"]))
            for row in rows
        ]
        last = page[-1][0]
        after = (last.tenant, last.version)
        yield page


class Rewrapped(msgspec.Struct, frozen=True):
    """How many tenant keys moved to the newest epoch, and the tenants whose keys do not open any more."""

    moved: int
    lost: tuple[UUID, ...]


async def rewrap(owner: KeyDatabase, epochs: Epochs) -> Rewrapped:
    """Wrap every tenant key under the newest epoch. Each row changes only if it is still what was read, so
    that two at once do no harm, and an interrupted one is simply done again."""
    newest, moved, lost = epochs.newest, 0, set[UUID]()
    async for page in pages(owner):
        fresh: list[tuple[TenantKey, bytes]] = []
        for key in (key for key, _ in page if key.epoch != newest):
            binding = wrapping(key.tenant, key.version)
            try:
                fresh.append((key, epochs.wrap(epochs.unwrap(key.wrapped, binding), binding)))
            except SealError:
                lost.add(key.tenant)
        moved += await replace(owner, fresh) if fresh else 0
    return Rewrapped(moved, tuple(sorted(lost)))


async def replace(owner: KeyDatabase, fresh: list[tuple[TenantKey, bytes]]) -> int:
    """Store another form of some tenant keys, where they still have the one that was read; how many did."""
    rows = await owner.fetch(
        "update troth.tenant_key k set wrapped = n.fresh"
        " from unnest($1::uuid[], $2::integer[], $3::bytea[], $4::bytea[]) as n(tenant, version, old, fresh)"
        " where k.tenant_id = n.tenant and k.version = n.version and k.wrapped = n.old returning 1",
        [key.tenant for key, _ in fresh],
        [key.version for key, _ in fresh],
        [key.wrapped for key, _ in fresh],
        [wrapped for _, wrapped in fresh],
        idempotent=True,
    )
    return len(rows)


def sync(folder: Path) -> None:
    """The names in a folder, on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> Secret | None:
    try:
        key = read_secret(path)
    except PlatformError:
        if path.exists():
            raise
        return None
    if len(key.reveal()) != KEY_BYTES:
        raise PlatformError(f"{path} does not hold {KEY_BYTES} bytes.", hint="Restore it from the store.")
    return key
