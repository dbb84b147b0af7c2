"""What an instance may answer without asking the database: sessions that are known to live, and the like.

An entry is good for `KEEP` and only while the feed of endings is lively. Three things could let an ending
slip by, and are guarded against:

- An ending is committed between the question and the moment its answer is kept. Whoever asks takes a mark
  before; an answer is kept only when nothing that was heard since the mark is about it.
- The feed was lost meanwhile: the mark is of another connection, and nothing is kept.
- The pool still asks a leader that was replaced while the feed hears its successor: both have to be the same.
"""

from collections import deque
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from troth.access.cache import BoundedCache
from troth.access.endings import Ending, Hear
from troth.access.sessions import Key, Mark, Session
from troth.core.clock import Clock
from troth.core.leader import Leader

KEEP = timedelta(seconds=5)
"""Short beside any idle limit, so that use is still noted, and a role that was added counts soon."""

CAPACITY = 4096
_RECENT = 256


class Led(Protocol):
    """Whatever follows the database's leader."""

    @property
    def leader(self) -> Leader | None: ...


class Listening(Led, Protocol):
    """The feed of endings."""

    @property
    def lively(self) -> bool: ...
    def subscribe(self, hear: Hear) -> None: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A bounded memory of what the database answered, emptied by what the feed tells. `concerns` says whether
    an ending is about a value."""

    def __init__(
        self,
        database: Led,
        feed: Listening,
        clock: Clock,
        concerns: Callable[[Ending, V], bool],
        *,
        capacity: int = CAPACITY,
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._concerns = concerns
        self._kept: BoundedCache[K, V] = BoundedCache(capacity)
        self._recent: deque[Ending] = deque(maxlen=_RECENT)
        self._heard = 0
        feed.subscribe(self._hear)

    def vouch(self, key: K) -> V | None:
        """The value, when it surely holds; None when the database has to be asked."""
        return self._kept.get(key, self._clock.now()) if self._feed.lively else None

    def mark(self) -> Mark | None:
        """To be taken before the database is asked. None while nothing may be kept."""
        leader = self._feed.leader
        if leader is None or not self._feed.lively or leader != self._database.leader:
            return None
        return Mark(leader, self._heard)

    def keep(self, mark: Mark | None, key: K, value: V) -> None:
        """Remember what the database answered, unless something about it was heard since the mark."""
        if mark is None or not (self._feed.leader == self._database.leader == mark.leader):
            return
        if self._missed(mark, value):
            return
        self._kept.put(key, value, self._good_until(value))

    def _good_until(self, value: V) -> datetime:
        del value
        return self._clock.now() + KEEP

    def _missed(self, mark: Mark, value: V) -> bool:
        since = self._heard - mark.heard
        if since > len(self._recent):
            return True
        return any(self._concerns(one, value) for one in list(self._recent)[len(self._recent) - since :])

    def _hear(self, ending: Ending) -> None:
        self._heard += 1
        self._recent.append(ending)
        self._kept.drop_where(lambda value: self._concerns(ending, value))


class LivingSessions(Remembered[Key, Session]):
    """Sessions that surely live, never longer than they last."""

    def __init__(self, database: Led, feed: Listening, clock: Clock, *, capacity: int = CAPACITY) -> None:
        super().__init__(database, feed, clock, concerns, capacity=capacity)

    def _good_until(self, value: Session) -> datetime:
        return min(super()._good_until(value), value.expires_at)


def concerns(ending: Ending, session: Session) -> bool:
    """Whether an ending is about this session."""
    match ending.kind:
        case "session":
            return ending.ref == str(session.id)
        case "person":
            return ending.ref == str(session.person)
        case "client":
            return ending.ref == client_ref(session.tenant, session.client)
        case "tenant":
            return ending.ref == str(session.tenant)
        case _:
            return True


def client_ref(tenant: UUID, client: str | None) -> str:
    """How an ending names a client."""
    return f"{tenant}/{client}"
