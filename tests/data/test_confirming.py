"""Who confirms a write while no member can."""

from inspect import getsource
from typing import NamedTuple

import pytest
from patroni.collections import CaseInsensitiveDict, CaseInsensitiveSet
from patroni.dcs import Cluster
from patroni.postgresql import Postgresql
from patroni.postgresql.config import ConfigHandler
from patroni.postgresql.sync import SyncHandler, parse_sync_standby_names

from troth.data.confirming import NOBODY, Confirmations, Names, without_everybody
from troth.data.elections import main


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("*", NOBODY),
        ("ANY 1 (*)", f"ANY 1 ({NOBODY})"),
        ('ANY 1 ("member-2","member-3")', 'ANY 1 ("member-2","member-3")'),
        ("", ""),
        (None, None),
    ],
)
def test_whoever_receives_the_log_never_confirms(asked: str | None, found: str | None) -> None:
    assert without_everybody(asked) == found


def test_a_server_is_started_without_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader that starts anew has nobody either, before Patroni has seen who follows."""

    def asked(_: object, config: dict[str, object]) -> CaseInsensitiveDict:
        return CaseInsensitiveDict(config)

    monkeypatch.setattr(ConfigHandler, "get_server_parameters", asked)
    names = Names.__new__(Names)
    assert dict(names.get_server_parameters({"synchronous_standby_names": "*"})) == {
        "synchronous_standby_names": NOBODY
    }
    assert dict(names.get_server_parameters({"port": "1"})) == {"port": "1"}


def test_a_running_server_is_told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str | None] = []

    def tell(_: object, value: str | None) -> bool:
        told.append(value)
        return True

    monkeypatch.setattr(ConfigHandler, "set_synchronous_standby_names", tell)
    assert Names.__new__(Names).set_synchronous_standby_names("ANY 1 (*)")
    assert told == [f"ANY 1 ({NOBODY})"]


class Seen(NamedTuple):
    """What Patroni knows of who confirms, as far as it is corrected."""

    numsync: int
    sync: CaseInsensitiveSet


@pytest.mark.parametrize(
    ("names", "waited_for"), [(f"ANY 1 ({NOBODY})", set[str]()), ("ANY 1 (b,c)", {"b", "c"})]
)
def test_nobody_is_no_member_that_patroni_would_look_for(
    monkeypatch: pytest.MonkeyPatch, names: str, waited_for: set[str]
) -> None:
    found = parse_sync_standby_names(names)

    def state(*_: object) -> Seen:
        return Seen(found.num, found.members)

    monkeypatch.setattr(SyncHandler, "current_state", state)
    seen = Confirmations.__new__(Confirmations).current_state(Cluster.empty())
    assert (set(seen.sync), seen.numsync) == (waited_for, 1)


def test_patroni_makes_what_is_corrected_by_these_names() -> None:
    made = getsource(Postgresql.__init__)
    assert "self.config = ConfigHandler(self, config)" in made
    assert "self.sync_handler = SyncHandler(self)" in made
    assert "self._postgresql.config.set_synchronous_standby_names(" in getsource(SyncHandler)
    assert "confirming.install()" in getsource(main)
