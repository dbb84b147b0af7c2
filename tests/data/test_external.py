"""An external replica set: what is believed of it, and when it is not used at all."""

import msgspec
import pytest

from support.postgres import Server
from troth.core.db import Database
from troth.core.leader import SecureContext, connect
from troth.core.process import Endpoint
from troth.data.external import (
    SetView,
    Standby,
    Told,
    anybody_suffices,
    judge_external,
    look,
    refusals,
    role_faults,
    statuses,
)
from troth.data.roles import AUDITOR, OWNER, preparation

LEADER = Told(
    leads=True,
    version=170_010,
    address="10.0.0.1",
    skew=0.1,
    commit="on",
    confirming="ANY 1 (db-2,db-3)",
    durable=True,
)
FOLLOWER = msgspec.structs.replace(LEADER, leads=False, address="10.0.0.2", confirming="")
THIRD = msgspec.structs.replace(FOLLOWER, address="10.0.0.3")
STANDBYS = (Standby("db-2", "10.0.0.2", "streaming", True), Standby("db-3", "10.0.0.3", "streaming", True))
GOOD = SetView({"db-1:5432": LEADER, "db-2:5432": FOLLOWER, "db-3:5432": THIRD}, STANDBYS)
PLACES = {"db-1:5432": "DE", "db-2:5432": "DE", "db-3:5432": "FI"}


def changed(view: SetView, name: str, told: Told | None) -> SetView:
    return msgspec.structs.replace(view, members={**view.members, name: told})


def test_three_members_with_a_quorum_are_proved_with_what_was_not_seen() -> None:
    finding = judge_external(GOOD, PLACES)
    assert finding.verdict == "proved"
    assert "at 3 addresses in DE, FI, as declared" in finding.evidence
    assert "was not seen" in finding.evidence


def test_members_at_one_address_are_told_as_not_redundant() -> None:
    view = SetView(
        {
            name: msgspec.structs.replace(told or LEADER, address="10.0.0.1")
            for name, told in GOOD.members.items()
        },
        STANDBYS,
    )
    assert "not redundant" in judge_external(view, PLACES).evidence


@pytest.mark.parametrize(
    ("view", "why"),
    [
        (changed(GOOD, "db-3:5432", None), "db-3:5432 does not answer"),
        (changed(GOOD, "db-1:5432", None), "exactly one leader"),
        (changed(GOOD, "db-2:5432", LEADER), "exactly one leader"),
        (changed(GOOD, "db-1:5432", msgspec.structs.replace(LEADER, commit="off")), "synchronous_commit"),
        (changed(GOOD, "db-2:5432", msgspec.structs.replace(FOLLOWER, commit="local")), "synchronous_commit"),
        (changed(GOOD, "db-1:5432", msgspec.structs.replace(LEADER, confirming="")), "waits for no standby"),
        (
            changed(GOOD, "db-1:5432", msgspec.structs.replace(LEADER, confirming="ANY 1 (*)")),
            "whoever receives",
        ),
        (changed(GOOD, "db-3:5432", msgspec.structs.replace(THIRD, durable=False)), "fsync"),
        (SetView(GOOD.members, STANDBYS[:1]), "Fewer than two"),
        (
            SetView(GOOD.members, (STANDBYS[0], Standby("db-3", "10.0.0.3", "catchup", True))),
            "Fewer than two",
        ),
        (SetView(GOOD.members, (STANDBYS[0], Standby("db-3", "10.0.0.3", "streaming", False))), "Fewer"),
        (SetView({"db-1:5432": LEADER}, STANDBYS), "1 of 3 members"),
    ],
)
def test_a_set_that_could_lose_a_write_is_broken(view: SetView, why: str) -> None:
    finding = judge_external(view, PLACES)
    assert finding.verdict == "broken"
    assert why in finding.evidence


@pytest.mark.parametrize(
    ("names", "suffices"),
    [
        ("*", True),
        ("ANY 1 (*)", True),
        ("first 1 (*)", True),
        ("1 (*)", True),
        ("ANY 2 (*)", False),
        ("2 (*)", False),
        ('ANY 1 ("db-2","db-3")', False),
        ("", False),
    ],
)
def test_one_of_anybody_is_no_second_member(names: str, suffices: bool) -> None:
    assert anybody_suffices(names) is suffices


def test_who_confirms_is_unknown_where_it_may_not_be_seen() -> None:
    hidden = tuple(Standby(one.name, "", None, False) for one in STANDBYS)
    finding = judge_external(SetView(GOOD.members, hidden), PLACES)
    assert finding.verdict == "unknown"
    assert "grant pg_read_all_stats" in finding.evidence


def test_an_old_server_a_forgetful_one_and_a_wrong_clock_are_refused() -> None:
    assert refusals(GOOD) == ()
    old = changed(GOOD, "db-2:5432", msgspec.structs.replace(FOLLOWER, version=160_004))
    assert "at least 17" in refusals(old)[0]
    late = changed(GOOD, "db-2:5432", msgspec.structs.replace(FOLLOWER, skew=-9.0))
    assert refusals(late) == ("the clock of db-2:5432 is 9.0 s behind ours",)
    assert refusals(changed(GOOD, "db-3:5432", None)) == ()  # it may come back


def test_each_member_is_shown_as_its_leader_sees_it() -> None:
    view = SetView({**GOOD.members, "db-4:5432": None}, STANDBYS[:1])
    assert [(one.name, one.role, one.state) for one in statuses(view)] == [
        ("db-1:5432", "leader", "running"),
        ("db-2:5432", "quorum_standby", "streaming"),
        ("db-3:5432", "replica", "not following"),
        ("db-4:5432", "replica", "silent"),
    ]


async def test_a_real_server_tells_what_it_is(postgres: Server) -> None:
    target = postgres.target(AUDITOR)
    nobody = Endpoint("127.0.0.1", 1)
    view = await look(msgspec.structs.replace(target, hosts=(postgres.endpoint, nobody)))
    told = view.members[str(postgres.endpoint)]
    assert told is not None
    assert (told.leads, told.address, told.commit, told.durable) == (True, "127.0.0.1", "off", False)
    assert abs(told.skew) < 2
    assert view.members[str(nobody)] is None
    assert any("synchronous_commit" in one for one in refusals(view))


async def test_roles_with_rights_that_they_must_not_have_are_told(
    postgres: Server, superuser_database: Database
) -> None:
    target = postgres.target(OWNER)
    connection = await connect(target, postgres.endpoint, SecureContext.of(target))
    try:
        assert await role_faults(connection) == ()
        await superuser_database.execute("alter role troth_app bypassrls")
        assert await role_faults(connection) == ("troth_app must be nobypassrls",)
    finally:
        await superuser_database.execute("alter role troth_app nobypassrls")
        await connection.close()


def test_the_printed_preparation_knows_no_password() -> None:
    text = preparation()
    assert "create role troth_app login" in text
    assert text.count("password") == text.count("password null")
