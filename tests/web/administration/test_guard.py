"""Who may administer: the scope, now; a recent sign-in; one's own tenant and nothing else."""

import re

import pytest

from support.access import House
from support.administration import EVERYTHING, Official, change, official
from support.api import check_problem
from troth.access.openapi import describe_access
from troth.access.roles import put_role

IF_MATCH = '"1"'
NOBODY = "0190a3c4-7a5e-7cc1-8f7b-3d5c9b1e2f40"
CLIENT = {"name": "Guarded", "scopes": ["openid"], "redirect_uris": ["https://guarded.example/back"]}

CALLS: list[tuple[str, str, object, str]] = [
    ("GET", "/users", None, "admin.users:read"),
    ("GET", f"/users/{NOBODY}", None, "admin.users:read"),
    ("PATCH", f"/users/{NOBODY}", {"disabled": True}, "admin.users:read"),
    ("POST", f"/users/{NOBODY}/sign-out", None, "admin.sessions:delete"),
    ("POST", f"/users/{NOBODY}/reset-factors", None, "admin.users:update"),
    ("POST", f"/users/{NOBODY}/reset-password", None, "admin.users:update"),
    ("POST", "/users", {"email": "eva@example.org", "name": "Eva"}, "admin.users:create"),
    ("GET", "/clients", None, "admin.clients:read"),
    ("POST", "/clients", CLIENT, "admin.clients:create"),
    ("GET", "/clients/ledger", None, "admin.clients:read"),
    ("PATCH", "/clients/ledger", {"disabled": True}, "admin.clients:update"),
    ("DELETE", "/clients/ledger", None, "admin.clients:delete"),
    ("POST", "/clients/ledger/secret", {}, "admin.clients:update"),
    ("POST", "/client-invitations", {"scopes": ["openid"]}, "admin.clients:create"),
    ("GET", "/domains", None, "admin.domains:read"),
    ("POST", "/domains", {"name": "portal.guarded.com"}, "admin.domains:create"),
    ("GET", "/domains/portal.guarded.com", None, "admin.domains:read"),
    ("DELETE", "/domains/portal.guarded.com", None, "admin.domains:delete"),
    ("POST", "/domains/portal.guarded.com/check", None, "admin.domains:update"),
    ("GET", "/settings", None, "admin.settings:read"),
    ("PUT", "/settings", {"policy": {}, "branding": {}}, "admin.settings:update"),
    ("GET", "/roles", None, "admin.roles:read"),
    ("PUT", "/roles/new", {"scopes": []}, "admin.roles:update"),
    ("DELETE", "/roles/resident", None, "admin.roles:delete"),
    ("GET", "/sessions", None, "admin.sessions:read"),
    ("DELETE", f"/sessions/{NOBODY}", None, "admin.sessions:delete"),
    ("GET", "/events", None, "admin.audit:read"),
]
EACH_CALL = pytest.mark.parametrize(
    ("method", "path", "body", "scope"), CALLS, ids=[f"{method} {path}" for method, path, *_ in CALLS]
)


def test_every_operation_is_among_these() -> None:
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "*", path.removeprefix("/api/v1/admin")))
        for path, item in describe_access()["paths"].items()
        for method in item
        if path.startswith("/api/v1/admin") and method != "parameters"
    }
    names = re.compile(rf"{NOBODY}|(?<=/roles/)\w+|(?<=/clients/)\w+|(?<=/domains/)[\w.]+")
    assert {(method, names.sub("*", path)) for method, path, *_ in CALLS} == described


@EACH_CALL
async def test_without_the_scope_in_the_token_it_is_refused_and_named(
    boss: Official, method: str, path: str, body: object, scope: str
) -> None:
    others = tuple(one for one in EVERYTHING if one != scope)
    response = await boss.call(method, f"/api/v1/admin{path}", body, scopes=others, if_match=IF_MATCH)
    problem = check_problem(response, 403, "insufficient_scope")
    assert (problem["scope"], problem["lacking"]) == (scope, "asked")
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]


@EACH_CALL
async def test_a_token_says_nothing_that_its_person_may_not_any_more(
    house: House, method: str, path: str, body: object, scope: str
) -> None:
    clerk = await official(house, *(one for one in EVERYTHING if one != scope))
    response = await clerk.call(method, f"/api/v1/admin{path}", body, if_match=IF_MATCH)
    problem = check_problem(response, 403, "insufficient_scope")
    assert (problem["scope"], problem["lacking"]) == (scope, "person")


@EACH_CALL
async def test_who_signed_in_too_long_ago_signs_in_again(
    boss: Official, method: str, path: str, body: object, scope: str
) -> None:
    await boss.age("11 minutes")
    response = await boss.call(method, f"/api/v1/admin{path}", body, if_match=IF_MATCH)
    check_problem(response, 401, "insufficient_user_authentication")
    challenge = response.headers["www-authenticate"]
    assert 'error="insufficient_user_authentication"' in challenge
    assert re.search(r'max_age="600"', challenge)


@EACH_CALL
async def test_without_a_token_nothing_is_told(
    boss: Official, method: str, path: str, body: object, scope: str
) -> None:
    response = await boss.call(method, f"/api/v1/admin{path}", body, authorization="", if_match=IF_MATCH)
    check_problem(response, 401, "unauthenticated")


@EACH_CALL
async def test_a_session_that_ended_administers_nothing(
    boss: Official, method: str, path: str, body: object, scope: str
) -> None:
    await change(boss.house, "update troth.session set ended_at = now() where id = $1", boss.session)
    response = await boss.call(method, f"/api/v1/admin{path}", body, if_match=IF_MATCH)
    check_problem(response, 401, "unauthenticated")


async def test_a_tenant_that_requires_a_second_factor_requires_it_here(boss: Official) -> None:
    await change(
        boss.house,
        "update troth.tenant set policy = jsonb_build_object('second_factor', 'required')"
        " where id = troth.context_tenant()",
    )
    response = await boss.call("GET", "/api/v1/admin/users")
    check_problem(response, 401, "insufficient_user_authentication")
    assert 'acr_values="urn:troth:acr:2"' in response.headers["www-authenticate"]
    await change(boss.house, "update troth.session set amr = '{pwd,otp}' where id = $1", boss.session)
    assert (await boss.call("GET", "/api/v1/admin/users")).status_code == 200


async def test_a_client_administers_only_what_it_was_registered_and_granted_for(boss: Official) -> None:
    house = boss.house
    await change(
        house,
        "insert into troth.session (id, tenant_id, domain, person_id, parent_id, client_id, scopes, idle,"
        " expires_at) select gen_random_uuid(), tenant_id, domain, person_id, id, 'ledger',"
        " '{admin.users:read}', idle, expires_at from troth.session where id = $1",
        boss.session,
    )
    granted = await house.access.auditor.fetchval(
        "select id from troth.session where parent_id = $1", boss.session
    )
    client = Official(house, boss.id, granted, boss.app)
    check_problem(await client.call("GET", "/api/v1/admin/users"), 403, "insufficient_scope")
    await change(
        house, "update troth.client set scopes = scopes || '{admin.users:read}'::text[] where id = 'ledger'"
    )
    assert (await client.call("GET", "/api/v1/admin/users")).status_code == 200
    check_problem(await client.call("GET", "/api/v1/admin/roles"), 403, "insufficient_scope")


async def test_refusals_stand_in_the_trail(boss: Official) -> None:
    await boss.call("GET", "/api/v1/admin/users", scopes=())
    await boss.age("1 hour")
    await boss.call("GET", "/api/v1/admin/users")
    events = await boss.house.access.events(boss.house.domain.name)
    assert events[-2:] == ["administration.refused"] * 2


async def test_what_a_role_lost_is_refused_from_the_next_call_on(house: House) -> None:
    clerk = await official(house, "admin.users:read")
    assert (await clerk.call("GET", "/api/v1/admin/users")).status_code == 200
    name = (await house.access.auditor.fetchval("select roles from troth.person where id = $1", clerk.id))[0]
    await put_role(house.access.owner, house.tenant.id, name, ())
    check_problem(await clerk.call("GET", "/api/v1/admin/users"), 403, "insufficient_scope")
