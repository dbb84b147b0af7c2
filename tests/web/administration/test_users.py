"""`/api/v1/admin/users` and `/sessions`: people of one's own tenant, and nobody else's."""

import secrets

import pytest

from support.access import EMAIL, House
from support.administration import Official, change, official
from support.api import check_problem
from troth.access.errors import NoSession

USERS = "/api/v1/admin/users"


async def test_people_are_listed_by_pages_and_only_ones_own(boss: Official, stranger: Official) -> None:
    for _ in range(3):
        await official(boss.house)
    seen: list[str] = []
    after = ""
    while True:
        page = (await boss.call("GET", f"{USERS}?limit=2{after}")).json()
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(seen) == len(set(seen)) == 5
    assert str(stranger.id) not in seen


async def test_a_person_is_shown_with_a_tag(boss: Official) -> None:
    response = await boss.call("GET", f"{USERS}/{boss.house.person}")
    assert response.headers["etag"]
    user = response.json()
    assert (user["email"], user["roles"], user["disabled"]) == (EMAIL, ["resident"], False)
    assert "hash" not in response.text


async def test_a_role_is_given_and_taken(boss: Official, house: House) -> None:
    path = f"{USERS}/{house.person}"
    tag = (await boss.call("GET", path)).headers["etag"]
    given = await boss.call("PATCH", path, {"roles": []}, if_match=tag)
    assert (given.status_code, given.json()["roles"]) == (200, [])
    assert given.headers["etag"] != tag
    stale = await boss.call("PATCH", path, {"roles": ["resident"]}, if_match=tag)
    check_problem(stale, 412, "precondition_failed")
    assert (await boss.call("GET", path)).json()["roles"] == []


async def test_a_disabled_person_is_out_at_once(boss: Official, house: House) -> None:
    begun = await house.begin()
    response = await boss.call("PATCH", f"{USERS}/{house.person}", {"disabled": True}, if_match="*")
    assert response.json()["disabled"] is True
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)
    assert "person.disabled" in await house.access.events(house.domain.name)


async def test_a_person_is_signed_out_everywhere(boss: Official, house: House) -> None:
    begun = await house.begin()
    assert (await boss.call("POST", f"{USERS}/{house.person}/sign-out")).status_code == 204
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"roles": ["nobody"]}, 422, "/roles"),
        ({"roles": [""]}, 422, "/roles/0"),
        ({"roles": "resident"}, 422, "/roles"),
        ({"roles": [7]}, 422, "/roles/0"),
        ({"roles": ["x"] * 51}, 422, "/roles"),
        ({"disabled": "yes"}, 422, "/disabled"),
        ({"disabled": None}, 422, "/disabled"),
        ({"email": "x@example.org"}, 422, ""),
        (b'{"disabled": true, "disabled": false}', 400, None),
        (b"[]", 400, None),
        (b"{", 400, None),
    ],
)
async def test_a_change_that_cannot_be_changes_nothing(
    boss: Official, house: House, body: object, status: int, pointer: str | None
) -> None:
    path = f"{USERS}/{house.person}"
    before = (await boss.call("GET", path)).headers["etag"]
    response = await boss.call("PATCH", path, body, if_match="*")
    problem = check_problem(response, status, "invalid" if status == 422 else "malformed")
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer
    assert (await boss.call("GET", path)).headers["etag"] == before


async def test_a_change_names_the_version_it_is_based_on(boss: Official, house: House) -> None:
    response = await boss.call("PATCH", f"{USERS}/{house.person}", {"disabled": True})
    check_problem(response, 428, "precondition_required")


async def test_nobody_changes_their_own_account(boss: Official) -> None:
    response = await boss.call("PATCH", f"{USERS}/{boss.id}", {"roles": []}, if_match="*")
    check_problem(response, 422, "invalid")


async def test_nobody_gives_or_touches_more_than_they_hold(boss: Official, house: House) -> None:
    clerk = await official(house, "admin.users:read", "admin.users:update")
    (powerful,) = (await boss.call("GET", f"{USERS}/{boss.id}")).json()["roles"]
    given = await clerk.call("PATCH", f"{USERS}/{house.person}", {"roles": [powerful]}, if_match="*")
    check_problem(given, 403, "insufficient_scope")
    touched = await clerk.call("PATCH", f"{USERS}/{boss.id}", {"disabled": True}, if_match="*")
    check_problem(touched, 403, "insufficient_scope")
    assert (await boss.call("GET", f"{USERS}/{boss.id}")).json()["disabled"] is False
    plain = await clerk.call("PATCH", f"{USERS}/{house.person}", {"disabled": True}, if_match="*")
    assert plain.status_code == 200


async def test_lost_factors_are_taken_away_and_sessions_end_with_them(boss: Official, house: House) -> None:
    begun = await house.begin()
    await change(
        house,
        "insert into troth.recovery_code (code_hash, tenant_id, person_id)"
        " values ($1, troth.context_tenant(), $2)",
        secrets.token_bytes(32),
        house.person,
    )
    assert (await boss.call("POST", f"{USERS}/{house.person}/reset-factors")).status_code == 204
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)
    left = "select count(*) from troth.recovery_code where person_id = $1"
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        assert await connection.fetchval(left, house.person) == 0
    check_problem(await boss.call("POST", f"{USERS}/{boss.id}/reset-factors"), 422, "invalid")


@pytest.mark.parametrize("what", ["", "/sign-out", "/reset-factors"])
async def test_other_tenants_people_do_not_exist(boss: Official, stranger: Official, what: str) -> None:
    method, body = ("POST", None) if what else ("PATCH", {"disabled": True})
    response = await boss.call(method, f"{USERS}/{stranger.id}{what}", body, if_match="*")
    check_problem(response, 404, "not_found")
    assert (await stranger.call("GET", USERS)).status_code == 200
    check_problem(await boss.call("GET", f"{USERS}/{stranger.id}"), 404, "not_found")


async def test_sessions_are_listed_and_ended_and_only_ones_own(
    boss: Official, stranger: Official, house: House
) -> None:
    begun = await house.begin()
    items = (await boss.call("GET", "/api/v1/admin/sessions")).json()["items"]
    assert {one["id"] for one in items} == {str(begun.session.id), str(boss.session)}
    assert items[0]["acr"] == "urn:troth:acr:1"
    foreign = await boss.call("DELETE", f"/api/v1/admin/sessions/{stranger.session}")
    check_problem(foreign, 404, "not_found")
    assert (await boss.call("DELETE", f"/api/v1/admin/sessions/{begun.session.id}")).status_code == 204
    with pytest.raises(NoSession):
        await house.access.sessions.open(house.domain, begun.token)
    again = await boss.call("DELETE", f"/api/v1/admin/sessions/{begun.session.id}")
    check_problem(again, 404, "not_found")
