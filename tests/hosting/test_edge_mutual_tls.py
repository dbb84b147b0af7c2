"""A domain's alias for mutual TLS: the certificate of the connection goes inside, and nothing in its name."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from support.edge import OWNERS, RESIDENTS, World, running_world, told
from troth.core.ca import LeafFiles, Subject

ALIAS = f"mtls.{RESIDENTS}"
SHOWN = "x-troth-client-certificate"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(world: World) -> LeafFiles:
    """A certificate of an authority that the edge has never heard of."""
    return world.authorities.leaf("apps", Subject(common_name="ledger", usage="client"), "ledger")


def der(leaf: LeafFiles) -> str:
    certificate = x509.load_pem_x509_certificate(leaf.certificate.read_bytes())
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


async def ask(
    world: World, path: str, leaf: LeafFiles | None, *, name: str = ALIAS, host: str = "", **headers: str
) -> httpx.Response:
    context = world.trust(certificate=leaf)
    port = world.state.https_port
    async with httpx.AsyncClient(verify=context) as client:
        return await client.get(
            f"https://127.0.0.1:{port}{path}",
            headers={"Host": f"{host or name}:{port}", **headers},
            extensions={"sni_hostname": name},
        )


async def test_the_certificate_of_the_connection_goes_inside(world: World, stranger: LeafFiles) -> None:
    answer = await ask(world, "/oauth/token", stranger)
    assert answer.json()["name"].startswith("web-")
    assert told(answer)[SHOWN] == [der(stranger)]
    assert told(answer)["host"] == [f"{ALIAS}:{world.state.https_port}"]
    assert "strict-transport-security" in answer.headers


async def test_without_a_certificate_nothing_is_said_of_one(world: World) -> None:
    assert told(await ask(world, "/api/v1/tickets", None)).get(SHOWN, [""]) == [""]


@pytest.mark.parametrize("path", ["/oauth/token", "/api/v1/tickets"])
@pytest.mark.parametrize("name", [RESIDENTS, ALIAS])
@pytest.mark.parametrize("spelling", ["X-Troth-Client-Certificate", "x_troth_client_certificate"])
async def test_nobody_says_it_but_the_edge(
    world: World, stranger: LeafFiles, name: str, path: str, spelling: str
) -> None:
    forged = {spelling: base64.b64encode(b"forged").decode(), "Connection": "X-Troth-Client-Certificate"}
    for leaf in (stranger, None):
        headers = told(await ask(world, path, leaf, name=name, **forged))
        shown = der(stranger) if leaf and name == ALIAS else ""
        assert headers.get(SHOWN, [""]) == [shown]
        assert forged[spelling] not in str(headers)


async def test_a_domain_that_people_visit_asks_for_no_certificate(world: World) -> None:
    """Else every browser that holds one would ask its user which to show."""
    for name, asks in ((RESIDENTS, False), (OWNERS, False), (ALIAS, True)):
        context = world.trust()
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # here the question is readable in the handshake
        assert (CERTIFICATE_REQUEST in await first_flight(world, context, name)) == asks


CERTIFICATE_REQUEST, SERVER_HELLO_DONE = 13, 14


async def first_flight(world: World, context: ssl.SSLContext, name: str) -> list[int]:
    """The types of the handshake messages that the server answers a ClientHello with."""
    sent = ssl.MemoryBIO()
    shaken = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.state.https_port)
    with pytest.raises(ssl.SSLWantReadError):
        shaken.do_handshake()
    writer.write(sent.read())
    flight = b""
    while SERVER_HELLO_DONE not in messages(flight):
        flight += await asyncio.wait_for(reader.read(65_536), 10)
    writer.transport.abort()
    return messages(flight)


def messages(flight: bytes) -> list[int]:
    """The types of the handshake messages in a flight of TLS 1.2 records (RFC 5246 section 7.4)."""
    content, found = b"", list[int]()
    while len(flight) >= 5:
        size = int.from_bytes(flight[3:5], "big")
        content, flight = content + flight[5 : 5 + size], flight[5 + size :]
    while len(content) >= 4:
        found.append(content[0])
        content = content[4 + int.from_bytes(content[1:4], "big") :]
    return found


@pytest.mark.parametrize(
    "path", ["/", "/login", "/session/token", "/oauth/authorize", "/oauth/consent", "/app"]
)
async def test_the_alias_shows_no_page(world: World, stranger: LeafFiles, path: str) -> None:
    assert (await ask(world, path, stranger)).status_code == 404


async def test_the_alias_takes_no_cookie_along(world: World, stranger: LeafFiles) -> None:
    answer = await ask(world, "/oauth/token", stranger, Cookie="__Host-troth=good")
    assert "cookie" not in told(answer)


async def test_a_connection_to_the_alias_speaks_for_no_domain_and_the_other_way_round(
    world: World, stranger: LeafFiles
) -> None:
    assert (await ask(world, "/oauth/token", stranger, name=ALIAS, host=RESIDENTS)).status_code == 421
    assert (await ask(world, "/oauth/token", stranger, name=RESIDENTS, host=ALIAS)).status_code == 421
    assert (await ask(world, "/oauth/token", stranger, name=f"mtls.{OWNERS}", host=ALIAS)).status_code == 421


async def test_the_alias_of_an_unknown_domain_fails_in_the_handshake(world: World) -> None:
    with pytest.raises(httpx.ConnectError):
        await ask(world, "/oauth/token", None, name="mtls.unknown.localhost")
