"""What a backup store can do, whatever it is made of, and the errors that every store raises."""

import hashlib
import re
from collections.abc import AsyncIterator
from typing import Final, Protocol

import msgspec

from troth.core.errors import PlatformError

PIECE_BYTES: Final = 1024 * 1024
"""The most that `get` hands over at once."""

NAME_LIMIT: Final = 512

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*(?:/[A-Za-z0-9][A-Za-z0-9._=-]*)*")


class Entry(msgspec.Struct, frozen=True, order=True):
    """An object as the store lists it. `modified` is the store's own clock, in Unix seconds."""

    name: str
    size: int
    modified: float


class Stored(msgspec.Struct, frozen=True):
    """What was written: bytes, and their SHA-256 in hexadecimal as it was computed on this side."""

    size: int
    sha256: str


class StoreError(PlatformError):
    """The store did not do what it was asked for; `hint` is the next step. Names no secret."""


class ObjectMissing(StoreError):
    """There is no object of this name."""


class Unreachable(StoreError):
    """No answer in time, after all retries: the way to the store or the store itself is down."""


class Store(Protocol):
    """A flat space of immutable-by-custom objects; names are checked by `check_name`.

    Every operation ends within a bounded time and raises StoreError, never the error of a library. Several
    may run at once.
    """

    @property
    def place(self) -> str:
        """Where it is, for a person and for the factsheet: without credentials."""
        ...

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        """Write an object, in place of one that has this name: complete and durable, or not at all.

        An error of `pieces` itself comes out as it is, and nothing appears under the name. Where a store
        takes an object in parts, those that an earlier attempt has left there are not sent again, if
        `pieces` brings the same bytes: seal into a file once to profit (two seals of one text differ).
        """
        ...

    def get(self, name: str, start: int = 0) -> AsyncIterator[bytes]:
        """The object from byte `start` on, in pieces of at most PIECE_BYTES. Raises ObjectMissing."""
        ...

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        """All objects whose names begin with `prefix`, in the order of their names."""
        ...

    async def delete(self, name: str) -> None:
        """Delete an object; one that is not there is no error. Raises StoreError while it is locked."""
        ...

    async def close(self) -> None:
        """Give connections back. The store is not used afterwards."""
        ...


class Tally:
    """Counts and hashes what passes by."""

    __slots__ = ("_digest", "_size")

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._size += len(piece)

    def stored(self) -> Stored:
        return Stored(self._size, self._digest.hexdigest())


def check_name(name: str) -> str:
    """The name itself. Raises StoreError for one that could leave its folder or differ between stores."""
    if len(name) > NAME_LIMIT or not _NAME.fullmatch(name):
        raise StoreError(
            f"“{name[:80]}” is no name for an object in a store.",
            hint="Write segments of letters, digits and . _ = - between slashes; each begins with one of the "
            "first two.",
        )
    return name
