"""What the keeper's backups are given: the members they are taken from, and how much may wait long."""

from typing import Protocol

import msgspec

from troth.core.leader import DatabaseTarget
from troth.data.patroni import MemberStatus
from troth.data.replicas import ReplicaSet
from troth.data.stores.waiting import Patience


class Members(Protocol):
    """The database as backups need it."""

    @property
    def replicas(self) -> ReplicaSet:
        """The members there are now."""
        ...

    def target(self, role: str) -> DatabaseTarget:
        """How to reach the leader as one of the database's roles."""
        ...

    async def report(self) -> tuple[MemberStatus, ...]:
        """The members as the set sees them."""
        ...


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """`spool_bytes` of the log may wait here for the store; then the receiver stops, and PostgreSQL keeps the
    log up to its own limit. `alarm_seconds` is how old the newest recoverable write may become before it is a
    trouble, `reopen_seconds` the wait before a store that could not be opened is tried again, and `patience`
    how long a store may be silent."""

    spool_bytes: int = 512 * 1024 * 1024
    alarm_seconds: float = 60.0
    reopen_seconds: float = 10.0
    patience: Patience = Patience()
