"""Domains that the edge was not told of: certified at their first handshake if the web service knows them."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from support.edge import RESIDENTS, World, running_world, told
from troth.core.ca import Subject

ADDED = "added.customer.localhost"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge"), on_demand=True) as running:
        running.serve(ADDED, "empty.localhost")
        yield running


async def test_a_domain_added_while_the_edge_runs_serves_at_its_first_handshake(world: World) -> None:
    world.serve(ADDED, "empty.localhost", "late.localhost")
    async with world.browser("late.localhost", session=True) as browser:
        page, login = await browser.get("/page"), await browser.get("/login")
    assert page.json()["name"].startswith("portal-")
    assert login.json()["name"].startswith("web-")
    assert "strict-transport-security" in page.headers


async def test_the_application_behind_an_added_domain_is_the_one_that_the_session_answer_names(
    world: World,
) -> None:
    async with world.browser(ADDED, session=True) as browser:
        headers = told(await browser.get("/page", headers={"X-Troth-App": "web"}))
    assert headers["authorization"] == ["Bearer token-of-the-session"]
    assert headers["cookie"] == ["theme=dark; tour=done"]
    assert "x-troth-app" not in headers
    async with world.browser("empty.localhost", session=True) as browser:
        assert (await browser.get("/page")).status_code == 404


async def test_domains_that_the_edge_was_told_go_on_with_their_certificates(world: World) -> None:
    async with world.browser(session=True) as browser:
        assert (await browser.get("/page")).json()["name"].startswith("portal-")
    assert not world.seen(target="/internal/known") or all(
        RESIDENTS not in str(note["headers"]) for note in world.seen(target="/internal/known")
    )


async def test_an_added_domain_gets_a_certificate_of_our_own_authority(world: World) -> None:
    certificate = await certificate_of(world, ADDED)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [ADDED]
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(world.authorities.ca("public").read_bytes())
    )
    assert (certificate.not_valid_after_utc - datetime.now(UTC)).days < 8


async def certificate_of(world: World, name: str) -> x509.Certificate:
    async with world.browser(name) as browser:
        answer = await browser.get("/login")
    stream: ssl.SSLObject = answer.extensions["network_stream"].get_extra_info("ssl_object")
    der = stream.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


@pytest.mark.parametrize(
    "name",
    ["unknown.localhost", "mtls.unknown.localhost", "localhost", "127.0.0.1", "web.services.troth.internal"],
)
async def test_an_unknown_name_gets_no_certificate(world: World, name: str) -> None:
    async with world.browser(name) as browser:
        with pytest.raises(httpx.ConnectError):
            await browser.get("/login")


async def test_without_a_name_no_certificate_is_shown(world: World) -> None:
    async with httpx.AsyncClient(verify=world.trust()) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://127.0.0.1:{world.state.https_port}/login")


async def test_a_connection_for_one_added_domain_speaks_for_no_other(world: World) -> None:
    async with world.browser(ADDED) as browser:
        for host in (RESIDENTS, "unknown.localhost", f"mtls.{ADDED}"):
            headers = {"Host": f"{host}:{world.state.https_port}"}
            assert (await browser.get("/login", headers=headers)).status_code == 421


async def test_the_alias_of_an_added_domain_asks_for_a_certificate_and_shows_no_page(world: World) -> None:
    leaf = world.authorities.leaf("apps", Subject(common_name="ledger", usage="client"), "ledger")
    name = f"mtls.{ADDED}"
    async with httpx.AsyncClient(verify=world.trust(certificate=leaf)) as client:
        headers, named = {"Host": f"{name}:{world.state.https_port}"}, {"sni_hostname": name}
        place = f"https://127.0.0.1:{world.state.https_port}"
        token = await client.get(f"{place}/oauth/token", headers=headers, extensions=named)
        page = await client.get(f"{place}/login", headers=headers, extensions=named)
    assert told(token)["x-troth-client-certificate"] != [""]
    assert page.status_code == 404


async def test_plain_requests_are_redirected_for_known_domains_alone(world: World) -> None:
    place = f"http://127.0.0.1:{world.state.http_port}/a?b=c"
    async with httpx.AsyncClient() as client:
        for name in (ADDED, RESIDENTS):
            answer = await client.get(place, headers={"Host": f"{name}:{world.state.http_port}"})
            assert answer.status_code == 308
            assert answer.headers["location"] == f"https://{name}:{world.state.https_port}/a?b=c"
        answer = await client.get(place, headers={"Host": "unknown.localhost"})
        assert (answer.status_code, answer.headers.get("location")) == (421, None)


async def test_applications_reach_the_api_of_an_added_domain(world: World) -> None:
    leaf = world.authorities.leaf("apps", Subject(common_name="portal", usage="client"), "portal")
    async with httpx.AsyncClient(verify=world.trust(certificate=leaf, ca="instances")) as client:
        answer = await client.get(
            f"https://{world.state.private.endpoint}/api/v1/tickets", headers={"Host": ADDED}
        )
    assert told(answer)["host"] == [ADDED]


async def test_the_gate_answers_nobody_who_does_not_know_its_password(world: World) -> None:
    assert world.state.on_demand is not None
    gate = f"https://{world.state.on_demand.gate}"
    async with httpx.AsyncClient(verify=world.trust(ca="instances")) as client:
        for path in ("/", "/wrong", f"/?domain={ADDED}", "/gate.secret"):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"{gate}{path}")
        right = f"{gate}/the-password-of-the-gate"
        assert (await client.get(right, params={"domain": ADDED})).status_code == 200
        assert (await client.get(right, params={"domain": "unknown.localhost"})).status_code == 404
        assert (await client.get(right)).status_code >= 400


async def test_without_an_answer_from_the_web_service_there_is_no_certificate(tmp_path: Path) -> None:
    async with running_world(tmp_path, on_demand=True) as world:
        world.serve("quiet.localhost")
        for name in world.web:
            world.kill(name)
        async with world.browser("quiet.localhost") as browser:
            with pytest.raises(httpx.ConnectError):
                await browser.get("/login")


async def test_the_configuration_names_the_password_and_does_not_hold_it(world: World) -> None:
    assert world.state.on_demand is not None
    written = (world.state.storage / "caddy.json").read_text()
    assert str(world.state.on_demand.password) in written
    assert "the-password-of-the-gate" not in written
    assert "the-password-of-the-gate" not in world.state.log.read_text()
