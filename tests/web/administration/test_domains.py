"""`/api/v1/admin/domains`: a domain serves once its owner is proved, and nobody else's is named."""

import secrets

import pytest

from support.administration import Official, change
from support.api import check_problem
from support.name_server import name_server
from troth.access.administered_domains import AdministeredDomains
from troth.access.administrator import Guard
from troth.access.ownership import NameServers
from troth.core.errors import NotFound

DOMAINS = "/api/v1/admin/domains"


def new_name() -> str:
    return f"portal.{secrets.token_hex(6)}.com"


async def test_a_domain_serves_once_the_record_stands_there(boss: Official) -> None:
    access, name = boss.house.access, new_name()
    added = await boss.call("POST", DOMAINS, {"name": name.upper()})
    assert (added.status_code, added.json()["name"], added.json()["state"]) == (201, name, "pending")
    record = added.json()["record"]
    assert record["name"] == f"_troth-challenge.{name}"
    with pytest.raises(NotFound):
        await access.directory.find(name)
    async with name_server() as server:
        asked = AdministeredDomains(Guard(access.database), NameServers(("127.0.0.1",), server.port))
        boss = boss.with_domains(asked)
        problem = check_problem(await boss.call("POST", f"{DOMAINS}/{name}/check"), 409, "conflict")
        assert record["value"] in problem["detail"]
        server.publish(record["name"], record["value"])
        assert (await boss.call("POST", f"{DOMAINS}/{name}/check")).status_code == 204
    access.clock.advance(seconds=2)
    found = await access.directory.find(name)
    assert (found.tenant_id, found.app) == (boss.house.tenant.id, boss.house.domain.app)
    assert (await boss.call("GET", f"{DOMAINS}/{name}")).json()["state"] == "active"
    assert (await boss.call("DELETE", f"{DOMAINS}/{name}")).status_code == 204
    check_problem(await boss.call("GET", f"{DOMAINS}/{name}"), 404, "not_found")
    events = await access.events(boss.house.domain.name)
    assert events[-3:] == ["domain.added", "domain.proved", "domain.removed"]


@pytest.mark.parametrize(
    "name",
    ["portal", "https://portal.company.com", "127.0.0.1", "a.localhost", "a.example", "mtls.company.com"],
)
async def test_a_name_that_nobody_can_prove_is_refused(boss: Official, name: str) -> None:
    problem = check_problem(await boss.call("POST", DOMAINS, {"name": name}), 422, "invalid")
    assert problem["errors"][0]["pointer"] == "/name"


async def test_whose_a_taken_name_is_stays_unsaid(boss: Official, stranger: Official) -> None:
    name = new_name()
    await stranger.call("POST", DOMAINS, {"name": name})
    response = await boss.call("POST", DOMAINS, {"name": name})
    check_problem(response, 409, "conflict")
    assert stranger.house.tenant.slug not in response.text
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/check")):
        check_problem(await boss.call(method, f"{DOMAINS}/{name}{path}"), 404, "not_found")


async def test_a_name_that_was_not_proved_in_a_week_keeps_nobody_from_it(
    boss: Official, stranger: Official
) -> None:
    name = new_name()
    await stranger.call("POST", DOMAINS, {"name": name})
    await change(
        boss.house, "update troth.domain set created_at = now() - interval '8 days' where name = $1", name
    )
    assert (await boss.call("POST", DOMAINS, {"name": name})).status_code == 201
    check_problem(await stranger.call("GET", f"{DOMAINS}/{name}"), 404, "not_found")
    check_problem(await stranger.call("POST", DOMAINS, {"name": name}), 409, "conflict")


async def test_twenty_names_at_most_wait_for_their_proof(boss: Official) -> None:
    made = [(await boss.call("POST", DOMAINS, {"name": new_name()})).status_code for _ in range(21)]
    assert made == [201] * 20 + [409]


async def test_the_domain_one_is_on_and_the_operators_stay(boss: Official) -> None:
    own = boss.house.domain.name
    check_problem(await boss.call("DELETE", f"{DOMAINS}/{own}"), 409, "conflict")
    name = new_name()
    await boss.call("POST", DOMAINS, {"name": name})
    await change(boss.house, "update troth.domain set added = false where name = $1", name)
    check_problem(await boss.call("DELETE", f"{DOMAINS}/{name}"), 409, "conflict")
    items = (await boss.call("GET", DOMAINS)).json()["items"]
    assert {one["name"] for one in items} == {own, name}
