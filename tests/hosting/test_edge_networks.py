"""Whom a domain answers, at a real edge: other networks get 403 whatever they ask for, and go no further.

Clients come from 127.0.0.2 and 127.0.0.3, which here count as elsewhere.
"""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from support.edge import OWNERS, RESIDENTS, World, running_world
from troth.hosting import edge_networks
from troth.hosting.edge import render

OFFICE, ELSEWHERE, THIS_MACHINE = "127.0.0.2", "127.0.0.3", "127.0.0.1"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """RESIDENTS answers the office alone, OWNERS everybody but it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_networks, "_LOOPBACK", ())
        async with running_world(tmp_path_factory.mktemp("edge")) as running:
            residents, owners = running.state.domains
            domains = (
                msgspec.structs.replace(residents, allow=("127.0.0.2/31",), deny=("127.0.0.3",)),
                msgspec.structs.replace(owners, deny=(f"{OFFICE}/32",)),
            )
            await running.admin.load(render(msgspec.structs.replace(running.state, domains=domains)))
            yield running


async def ask(
    world: World, domain: str, source: str, path: str = "/login", *, host: str = ""
) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(verify=world.trust(), local_address=source)
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get(
            f"https://127.0.0.1:{world.state.https_port}{path}",
            headers={"Host": f"{host or domain}:{world.state.https_port}", "X-Forwarded-For": OFFICE},
            extensions={"sni_hostname": domain},
        )


@pytest.mark.parametrize(
    ("domain", "source", "status"),
    [
        (RESIDENTS, OFFICE, 200),
        (RESIDENTS, ELSEWHERE, 403),
        (RESIDENTS, "127.0.0.4", 403),
        (OWNERS, OFFICE, 403),
        (OWNERS, ELSEWHERE, 200),
        (RESIDENTS, THIS_MACHINE, 200),
        (f"mtls.{RESIDENTS}", ELSEWHERE, 403),
    ],
)
async def test_a_domain_answers_the_networks_of_its_lists_alone(
    world: World, domain: str, source: str, status: int
) -> None:
    path = "/oauth/token" if domain.startswith("mtls.") else "/login"
    assert (await ask(world, domain, source, path)).status_code == status


@pytest.mark.parametrize("path", ["/", "/login", "/api/v1/tickets", "/assets/x.css", "/internal/forward"])
async def test_no_path_and_no_spelling_of_the_host_gets_past_the_list(world: World, path: str) -> None:
    before = len(world.seen())
    assert (await ask(world, RESIDENTS, ELSEWHERE, path)).status_code == 403
    assert (await ask(world, RESIDENTS, ELSEWHERE, path, host=RESIDENTS.upper())).status_code == 403
    assert (await ask(world, RESIDENTS, ELSEWHERE, path, host=f"{RESIDENTS}.")).status_code == 421
    assert (await ask(world, OWNERS, ELSEWHERE, path, host=RESIDENTS)).status_code == 421
    assert len(world.seen()) == before, "an instance saw a refused request"


async def test_the_refusal_says_why_and_is_no_less_protected(world: World) -> None:
    answer = await ask(world, RESIDENTS, ELSEWHERE)
    assert answer.json()["code"] == "network_denied"
    assert "strict-transport-security" in answer.headers
    assert answer.headers["cache-control"] == "no-store"


async def test_the_plain_port_refuses_as_well_and_does_not_redirect(world: World) -> None:
    transport = httpx.AsyncHTTPTransport(local_address=ELSEWHERE)
    async with httpx.AsyncClient(transport=transport) as client:
        answer = await client.get(f"http://127.0.0.1:{world.state.http_port}/", headers={"Host": RESIDENTS})
    assert answer.status_code == 403
    assert "location" not in answer.headers
