"""Who joins by invitation, or forgot their password, is written to; an administrator never chooses one."""

from typing import Any

import pytest

from support.access import EMAIL, House
from support.administration import Official, official
from support.api import check_problem
from troth.access.administration import Administration
from troth.access.administrator import Guard

USERS = "/api/v1/admin/users"
EVA = {"email": "eva@lindenhof.example", "name": "Eva Stein", "roles": ["resident"], "language": "de"}


async def orders(house: House) -> list[tuple[Any, ...]]:
    rows = await house.access.auditor.fetch(
        "select kind, language from troth.mail_order where tenant_id = $1 order by created_at",
        house.tenant.id,
    )
    return [tuple(row) for row in rows]


async def test_a_person_is_invited_by_a_message_and_has_no_password_yet(boss: Official) -> None:
    made = await boss.call("POST", USERS, EVA)
    assert made.status_code == 201
    user = (await boss.call("GET", f"{USERS}/{made.json()['id']}")).json()
    assert (user["email"], user["roles"], user["has_password"]) == (EVA["email"], ["resident"], False)
    assert await orders(boss.house) == [("invitation", "de")]
    check_problem(await boss.call("POST", USERS, EVA), 409, "conflict")
    check_problem(await boss.call("POST", USERS, {**EVA, "email": EMAIL.upper()}), 409, "conflict")
    # Who did not follow it in time is invited again.
    assert (await boss.call("POST", f"{USERS}/{user['id']}/reset-password")).status_code == 202
    assert await orders(boss.house) == [("invitation", "de"), ("invitation", "en")]


@pytest.mark.parametrize(
    ("fault", "pointer"),
    [
        ({"email": "no address"}, "/email"),
        ({"email": "a@b.example\r\nBcc: c@d.example"}, "/email"),
        ({"name": " "}, "/name"),
        ({"roles": ["nobody"]}, "/roles"),
        ({"language": "fr"}, "/language"),
        ({"password": "chosen by somebody else"}, ""),
    ],
)
async def test_an_invitation_that_cannot_be_is_not_sent(
    boss: Official, fault: dict[str, object], pointer: str
) -> None:
    problem = check_problem(await boss.call("POST", USERS, {**EVA, **fault}), 422, "invalid")
    assert problem["errors"][0]["pointer"] == pointer
    assert await orders(boss.house) == []


async def test_nobody_invites_to_a_power_that_they_do_not_hold(boss: Official, house: House) -> None:
    clerk = await official(house, "admin.users:create")
    (powerful,) = (await boss.call("GET", f"{USERS}/{boss.id}")).json()["roles"]
    response = await clerk.call("POST", USERS, {**EVA, "roles": [powerful]})
    check_problem(response, 403, "insufficient_scope")
    assert (await clerk.call("POST", USERS, EVA)).status_code == 201


async def test_a_reset_is_sent_to_the_person_and_changes_nothing_before(boss: Official, house: House) -> None:
    path = f"{USERS}/{house.person}"
    before = (await boss.call("GET", path)).json()
    response = await boss.call("POST", f"{path}/reset-password")
    assert (response.status_code, response.content) == (202, b"")
    assert await orders(house) == [("reset", "en")]
    assert (await boss.call("GET", path)).json() == before
    assert "person.reset_ordered" in await house.access.events(house.domain.name)
    await boss.call("PATCH", path, {"disabled": True}, if_match="*")
    check_problem(await boss.call("POST", f"{path}/reset-password"), 409, "conflict")


async def test_a_person_is_not_flooded_with_messages(boss: Official, house: House) -> None:
    path = f"{USERS}/{house.person}/reset-password"
    asked = [await boss.call("POST", path) for _ in range(4)]
    assert [one.status_code for one in asked] == [202, 202, 202, 429]
    assert int(asked[-1].headers["retry-after"]) > 0
    assert len(await orders(house)) == 3


async def test_where_no_mail_is_sent_both_are_refused(boss: Official, house: House) -> None:
    access = house.access
    silent = Administration(Guard(access.database), access.accounts, mail=False)
    boss = boss.with_people(silent)
    for path, body in ((USERS, EVA), (f"{USERS}/{house.person}/reset-password", None)):
        problem = check_problem(await boss.call("POST", path, body), 409, "conflict")
        assert "[mail]" in problem["detail"]
    assert await orders(house) == []


async def test_other_tenants_people_get_no_message(boss: Official, stranger: Official) -> None:
    response = await boss.call("POST", f"{USERS}/{stranger.id}/reset-password")
    check_problem(response, 404, "not_found")
    assert await orders(stranger.house) == []
