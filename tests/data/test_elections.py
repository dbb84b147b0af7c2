"""Who may lead: positions on different timelines, and what the store says before a member is promoted."""

from inspect import getsource
from typing import Any

import msgspec
import pytest
from patroni.__main__ import Patroni
from patroni.dcs import SyncState

from troth.data.elections import AHEAD, BEHIND, UNKNOWN, Elections, position, voters

Ha = Elections.__bases__[0]


class Said(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    wal_position: int
    timeline: int | None
    in_recovery: bool | None = True


@pytest.mark.parametrize(
    ("said", "own", "counts"),
    [
        (Said(500, 2), 2, 500),
        (Said(500, 3), 2, AHEAD),
        (Said(500, 1), 2, BEHIND),
        (Said(500, 2), None, AHEAD),
        (Said(500, None), 2, UNKNOWN),
        (Said(500, 0), None, UNKNOWN),
        (Said(0, 3), 2, 0),
        (Said(0, None, in_recovery=None), 2, 0),
        (Said(0, 3, in_recovery=False), 2, 0),
    ],
)
def test_a_later_timeline_is_ahead_of_any_position(said: Said, own: int | None, counts: int) -> None:
    assert position(said, own) == counts


def test_the_leader_of_before_is_asked_and_whoever_leads_now_is_not() -> None:
    assert voters(["a", "b", "c"], "b") == {"a", "c"}
    assert voters(["a"], "b") == {"a"}


class Store:
    """The consensus store, as far as a promotion writes to it."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.written: list[tuple[Any, ...]] = []
        self._refuses = refuses

    def write_sync_state(
        self, leader: str, standbys: frozenset[str], quorum: int, version: object
    ) -> SyncState | None:
        self.written.append((leader, sorted(standbys), quorum, version))
        return None if self._refuses else SyncState.empty()


@pytest.mark.parametrize("refuses", [False, True])
def test_a_member_is_named_in_the_store_before_it_is_promoted_or_is_not(
    monkeypatch: pytest.MonkeyPatch, *, refuses: bool
) -> None:
    store = Store(refuses=refuses)
    monkeypatch.setattr(Ha, "process_sync_replication_prepromote", agrees)
    monkeypatch.setattr(Ha, "quorum_commit_mode_is_active", agrees)
    election = Elections.__new__(Elections)
    sync = SyncState.from_node(7, {"leader": "c", "sync_standby": "a,b", "quorum": 1})
    monkeypatch.setattr(election, "cluster", Cluster(sync), raising=False)
    monkeypatch.setattr(election, "state_handler", Server(), raising=False)
    monkeypatch.setattr(election, "dcs", store, raising=False)
    assert election.process_sync_replication_prepromote() is not refuses
    assert store.written == [("a", ["b", "c"], 1, 7)]


def agrees(_: object) -> bool:
    return True


class Cluster:
    def __init__(self, sync: SyncState) -> None:
        self.sync = sync


class Server:
    name = "a"


def test_patroni_has_what_is_corrected_and_decides_with_it() -> None:
    """Another Patroni may call things otherwise: then nothing would be corrected."""
    assert "from patroni.ha import Ha" in getsource(Patroni.__init__)
    deciding = getsource(Ha)
    assert "if not self.process_sync_replication_prepromote():" in deciding
    assert "for st in self.fetch_nodes_statuses(members):" in deciding
    assert "my_wal_position < st.wal_position" in deciding
    assert "self.dcs.write_sync_state(" in deciding
