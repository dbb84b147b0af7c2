"""A cache that cannot grow: the least recently used entry goes first, and every entry grows old."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """At most `capacity` entries. Memory does not grow with the number of domains, sessions or tokens."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a cache holds at least one entry")
        self._capacity = capacity
        self._entries: OrderedDict[K, tuple[V, datetime]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K, now: datetime) -> V | None:
        """The value while it is good; None afterwards, or when it was pushed out."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, good_until = entry
        if now >= good_until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V, good_until: datetime) -> None:
        """Keep `value` until `good_until` or until the room is needed."""
        self._entries[key] = (value, good_until)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def drop_where(self, about: Callable[[V], bool]) -> None:
        """Forget every entry whose value `about` is true of."""
        for key in [key for key, (value, _) in self._entries.items() if about(value)]:
            del self._entries[key]

    def drop(self, key: K) -> None:
        """Forget one entry."""
        self._entries.pop(key, None)
