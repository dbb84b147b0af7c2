"""`/api/v1/admin/roles`, the trail, and who one is."""

import pytest

from support.access import EMAIL, NAME, House
from support.administration import Official, official
from support.api import check_problem

ROLES = "/api/v1/admin/roles"


async def roles_of(boss: Official) -> dict[str, dict[str, object]]:
    items = (await boss.call("GET", ROLES)).json()["items"]
    return {one["name"]: one for one in items if one["of"] == "tenant"}


async def test_a_role_is_made_changed_and_taken_away(boss: Official) -> None:
    made = await boss.call("PUT", f"{ROLES}/caretaker", {"scopes": ["tickets:read"]})
    assert made.status_code == 201
    again = await boss.call("PUT", f"{ROLES}/caretaker", {"scopes": []})
    check_problem(again, 409, "conflict")
    tag = str((await roles_of(boss))["caretaker"]["etag"])
    changed = await boss.call("PUT", f"{ROLES}/caretaker", {"scopes": ["tickets:update"]}, if_match=tag)
    assert (changed.status_code, changed.json()["scopes"]) == (200, ["tickets:update"])
    stale = await boss.call("PUT", f"{ROLES}/caretaker", {"scopes": []}, if_match=tag)
    check_problem(stale, 412, "precondition_failed")
    check_problem(await boss.call("DELETE", f"{ROLES}/caretaker", if_match=tag), 412, "precondition_failed")
    tag = str((await roles_of(boss))["caretaker"]["etag"])
    assert (await boss.call("DELETE", f"{ROLES}/caretaker", if_match=tag)).status_code == 204
    check_problem(await boss.call("DELETE", f"{ROLES}/caretaker", if_match=tag), 404, "not_found")


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("x", {"scopes": ["nowhere:read"]}, 422),
        ("x", {"scopes": ["tickets"]}, 422),
        ("x", {"scopes": ["openid"]}, 422),
        ("x", {"scopes": "tickets:read"}, 422),
        ("x", {}, 422),
        ("x", {"scopes": [], "name": "y"}, 422),
        ("x", {"scopes": ["tickets:read"] * 201}, 422),
        ("Big%20Role", {"scopes": []}, 404),
        ("a" * 41, {"scopes": []}, 404),
    ],
)
async def test_a_role_that_cannot_be_is_not_made(
    boss: Official, name: str, body: object, status: int
) -> None:
    before = await roles_of(boss)
    response = await boss.call("PUT", f"{ROLES}/{name}", body)
    check_problem(response, status, "invalid" if status == 422 else "not_found")
    assert await roles_of(boss) == before


async def test_nobody_puts_more_into_a_role_than_they_hold(house: House) -> None:
    clerk = await official(house, "admin.roles:read", "admin.roles:create", "admin.roles:update")
    response = await clerk.call("PUT", f"{ROLES}/mine", {"scopes": ["admin.users:update"]})
    problem = check_problem(response, 403, "insufficient_scope")
    assert problem["scope"] == "admin.users:update"
    assert (await clerk.call("PUT", f"{ROLES}/mine", {"scopes": ["tickets:delete"]})).status_code == 201


async def test_other_tenants_roles_do_not_exist(boss: Official, stranger: Official) -> None:
    await stranger.call("PUT", f"{ROLES}/theirs", {"scopes": ["tickets:read"]})
    assert "theirs" not in await roles_of(boss)
    check_problem(await boss.call("DELETE", f"{ROLES}/theirs", if_match='"1"'), 404, "not_found")
    assert "theirs" in await roles_of(stranger)


async def test_the_trail_tells_who_did_what_and_only_ones_own(boss: Official, stranger: Official) -> None:
    await boss.call("PUT", f"{ROLES}/caretaker", {"scopes": []}, x_request_id="request-0001")
    await stranger.call("PUT", f"{ROLES}/theirs", {"scopes": []})
    first = (await boss.call("GET", "/api/v1/admin/events?limit=1")).json()
    (event,) = first["items"]
    assert (event["event"], event["principal"], event["request_id"]) == (
        "role.changed",
        str(boss.id),
        "request-0001",
    )
    assert event["detail"] == {"role": "caretaker", "scopes": []}
    seen, after = [event["id"]], first["next"]
    while after:
        page = (await boss.call("GET", f"/api/v1/admin/events?limit=2&after={after}")).json()
        seen += [one["id"] for one in page["items"]]
        assert "theirs" not in str(page)
        after = page["next"]
    assert len(seen) == len(set(seen)) >= 2


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1&limit=2", "after=%21", "after=AAAA", "after=" + "_" * 32, "x=1"]
)
@pytest.mark.parametrize("what", ["users", "sessions", "events"])
async def test_a_page_that_cannot_be_is_refused(boss: Official, what: str, query: str) -> None:
    response = await boss.call("GET", f"/api/v1/admin/{what}?{query}")
    if query.startswith("after=_") and what != "events":
        assert response.status_code in (200, 400)
        return
    check_problem(response, 400, "malformed")


async def test_who_am_i_and_what_may_this_token(house: House) -> None:
    anna = Official(house, house.person, (await house.begin()).session.id, (await official(house)).app)
    response = await anna.call("GET", "/api/v1/me", scopes=("tickets:read:own", "tickets:delete"))
    me = response.json()
    assert me["person"] == {
        "id": str(house.person),
        "name": NAME,
        "roles": ["resident"],
        "email": EMAIL,
    }
    assert me["tenant"]["slug"] == house.tenant.slug
    assert (me["client"], me["scopes"]) == ("session", ["tickets:read:own"])
    assert me["session"]["acr"] == "urn:troth:acr:1"
    check_problem(await anna.call("GET", "/api/v1/me", authorization=""), 401, "unauthenticated")
