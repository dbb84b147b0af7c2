"""Patroni with two corrections to who may lead: `python -I -m troth.data.elections CONFIGURATION`.

With quorum commit, Patroni 4.1 loses acknowledged writes when a leader dies within its first second:

1. It takes writes before the store names it. `/sync` goes on naming the leader before it, which counts as
   complete by itself once it is back. Here a member is named before it is promoted, or is not promoted.
2. Positions in the log are compared, timelines are not. Crash recovery moves a dead leader's position ahead
   of members that followed its successor, and it would win. Here whoever is on a later timeline is ahead.

docs/decisions/replica-set.md has the run in which it happened. While no member follows, nobody confirms a
write (data/confirming.py). Everything else is Patroni's own.
"""

import sys
from collections.abc import Collection
from typing import Any, Protocol

import patroni.postgresql  # pyright: ignore[reportUnusedImport] - after patroni.ha it cannot be imported

# isort: split

import patroni.ha
from patroni.__main__ import main as run
from patroni.dcs import Member
from patroni.ha import Ha

from troth.data import confirming

AHEAD = sys.maxsize
"""A position that nobody reaches: whoever sees it does not lead."""

BEHIND = 1
"""The position of a running server that has nothing: it votes for everybody."""

UNKNOWN = 0
"""A position that Patroni counts neither as a vote nor as being ahead."""


class Status(Protocol):
    """What another member says of itself, as far as it is read here."""

    @property
    def in_recovery(self) -> bool | None: ...
    @property
    def wal_position(self) -> int: ...
    @property
    def timeline(self) -> int | None: ...


def position(status: Status, own_timeline: int | None) -> int:
    """Pure: where another member's log ends, as a number to be compared with where ours does.

    Without a timeline of our own whoever has one is ahead; without one of its own a member does not vote.
    """
    if not status.in_recovery or status.wal_position <= 0:
        return status.wal_position
    if not status.timeline:
        return UNKNOWN
    if own_timeline is None or status.timeline > own_timeline:
        return AHEAD
    return BEHIND if status.timeline < own_timeline else status.wal_position


def voters(members: Collection[str], name: str) -> frozenset[str]:
    """Pure: who is asked when `name` is lost, once it has been promoted: everybody of before but itself.

    The leader of before is among them, for it has all that was acknowledged until then. As many must be asked
    as before: the members of which one confirms a write are as many more than those who confirm it.
    """
    return frozenset(members) - {name}


class Elections(Ha):
    """What decides about leading in Patroni, with the corrections."""

    def process_sync_replication_prepromote(self) -> bool:
        """Before a promotion: name ourselves in the store. False puts the promotion off."""
        if not super().process_sync_replication_prepromote():
            return False
        if not self.quorum_commit_mode_is_active():
            return True
        sync, name = self.cluster.sync, self.state_handler.name
        asked = voters(sync.members, name)
        return self.dcs.write_sync_state(name, asked, sync.quorum, version=sync.version) is not None

    def fetch_nodes_statuses(self, members: list[Member]) -> list[Any]:
        """What the others say, their positions comparable with ours."""
        found = super().fetch_nodes_statuses(members)
        if not found or self.state_handler.is_primary():
            return list(found)
        own = self.state_handler.replica_cached_timeline(self.cluster.timeline)
        return [one._replace(wal_position=position(one, own)) for one in found]


def main() -> None:
    """Run Patroni."""
    patroni.ha.Ha = Elections
    confirming.install()
    run()


if __name__ == "__main__":
    main()
