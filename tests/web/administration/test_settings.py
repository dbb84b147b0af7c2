"""`/api/v1/admin/settings`: strict, readable, and no way to powers that one does not hold."""

import base64

import pytest

from support.access import House
from support.administration import Official, official
from support.api import check_problem

SETTINGS = "/api/v1/admin/settings"
LOGO = {"type": "image/png", "data": base64.b64encode(b"\x89PNG\r\n\x1a\nx").decode()}


async def test_settings_are_read_and_put_and_followed(boss: Official) -> None:
    read = await boss.call("GET", SETTINGS)
    assert read.json()["policy"]["second_factor"] == "optional"
    body = {
        "policy": {
            "session_idle_minutes": 30,
            "registration": "open",
            "email_domains": ["lindenhof.example"],
        },
        "branding": {"name": "Lindenhof", "colour": "#1f4e79", "logo": LOGO},
    }
    put = await boss.call("PUT", SETTINGS, body, if_match=read.headers["etag"])
    assert put.status_code == 204
    check_problem(
        await boss.call("PUT", SETTINGS, body, if_match=read.headers["etag"]), 412, "precondition_failed"
    )
    check_problem(await boss.call("PUT", SETTINGS, body), 428, "precondition_required")
    now = (await boss.call("GET", SETTINGS)).json()
    assert now["policy"]["session_idle_minutes"] == 30
    assert now["branding"] == body["branding"]
    access = boss.house.access
    access.clock.advance(seconds=2)
    domain = await access.directory.find(boss.house.domain.name)
    assert (domain.policy.registration, domain.branding.name) == ("open", "Lindenhof")
    assert "tenant.policy" in await access.events(domain.name)


@pytest.mark.parametrize(
    ("policy", "branding", "pointer"),
    [
        ({"session_idle_minuts": 5}, {}, "/policy"),
        ({"session_idle_minutes": 0}, {}, "/policy/session_idle_minutes"),
        ({"session_idle_minutes": 120, "session_absolute_hours": 1}, {}, "/policy/session_idle_minutes"),
        ({"second_factor": "maybe"}, {}, "/policy/second_factor"),
        ({"email_domains": ["@company.example"]}, {}, "/policy/email_domains"),
        ({"email_domains": ["a.example"] * 51}, {}, "/policy/email_domains"),
        ({"joining_roles": ["nobody"]}, {}, "/policy/joining_roles"),
        ({"mail_name": "a\r\nBcc: x@example.org"}, {}, "/policy/mail_name"),
        ({}, {"colour": "#ffff00"}, "/branding/colour"),
        ({}, {"colour": "red"}, "/branding/colour"),
        ({}, {"name": "a\u202eb"}, "/branding/name"),
        ({}, {"logo": {"type": "image/gif", "data": ""}}, "/branding/logo"),
        ({}, {"logo": {"type": "image/png", "data": "!"}}, "/branding/logo/data"),
        (
            {},
            {"logo": {"type": "image/svg+xml", "data": base64.b64encode(b"<svg onload='x'/>").decode()}},
            "/branding/logo",
        ),
        ({}, {"css": "x"}, "/branding"),
    ],
)
async def test_settings_that_cannot_be_change_nothing(
    boss: Official, policy: object, branding: object, pointer: str
) -> None:
    before = (await boss.call("GET", SETTINGS)).headers["etag"]
    body = {"policy": policy, "branding": branding}
    problem = check_problem(await boss.call("PUT", SETTINGS, body, if_match="*"), 422, "invalid")
    assert problem["errors"][0]["pointer"] == pointer
    assert (await boss.call("GET", SETTINGS)).headers["etag"] == before


async def test_nobody_lets_people_join_with_a_power_that_they_do_not_hold(
    boss: Official, house: House
) -> None:
    clerk = await official(house, "admin.settings:read", "admin.settings:update")
    (powerful,) = (await boss.call("GET", f"/api/v1/admin/users/{boss.id}")).json()["roles"]
    body = {"policy": {"joining_roles": [powerful], "registration": "open"}, "branding": {}}
    check_problem(await clerk.call("PUT", SETTINGS, body, if_match="*"), 403, "insufficient_scope")
    body = {"policy": {"joining_roles": ["resident"]}, "branding": {}}
    assert (await clerk.call("PUT", SETTINGS, body, if_match="*")).status_code == 204


async def test_settings_of_another_tenant_stay(boss: Official, stranger: Official) -> None:
    before = (await stranger.call("GET", SETTINGS)).headers["etag"]
    await boss.call("PUT", SETTINGS, {"policy": {"second_factor": "off"}, "branding": {}}, if_match="*")
    assert (await stranger.call("GET", SETTINGS)).headers["etag"] == before
