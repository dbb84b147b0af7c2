"""ACME over the plain port alone (HTTP-01): proved by pebble, renewed under load, and OCSP stapled."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography import x509

from support.edge import World
from support.name_server import name_server
from support.ocsp import Responder, responder
from support.pebble import Pebble, pebble
from support.rounds import in_many_rounds, tell
from support.waiting import until
from troth.hosting.edge_admin import caddy_binary, start_spec
from troth.hosting.edge_state import Acme
from troth.hosting.ports import free_ports

PORTAL, SHOP = "portal.customer.org", "shop.customer.org"
LIFE = 30
"""Seconds of a certificate's life where it is renewed again and again."""


class Internet(msgspec.Struct, frozen=True):
    """The edge and the authority that it orders from, which can reach its plain port alone."""

    world: World
    acme: Pebble
    responder: Responder


@contextlib.asynccontextmanager
async def internet_of(folder: Path, **more: object) -> AsyncGenerator[Internet]:
    world = World(folder, on_demand=True)
    (nobody,) = free_ports(1)
    async with (
        name_server() as names,
        responder() as ocsp,
        pebble(
            folder,
            name_server=names.port,
            http_port=world.state.http_port,
            tls_port=nobody,
            ocspResponderURL=f"http://127.0.0.1:{ocsp.port}",
            **more,
        ) as acme,
    ):
        ocsp.issuer = await acme.issuer()
        settings = Acme(
            directory=acme.directory, contact="operator@platform.example", roots=(acme.authority,)
        )
        assert world.state.on_demand is not None
        demand = msgspec.structs.replace(world.state.on_demand, acme=settings)
        world.state = msgspec.structs.replace(world.state, on_demand=demand)
        world.spec = start_spec(world.state, binary=caddy_binary(), log=folder / "caddy.out")
        try:
            await world.start()
            (folder / "root.pem").write_bytes(await acme.root())
            yield Internet(world, acme, ocsp)
        finally:
            await world.stop()


@pytest.fixture(scope="module")
async def internet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    async with internet_of(tmp_path_factory.mktemp("acme")) as running:
        yield running


async def shown(internet: Internet, name: str) -> x509.Certificate:
    """The certificate of `name`, for who trusts the root of the ACME server alone, with a page behind it."""
    port = internet.world.state.https_port
    context = ssl.create_default_context(cafile=str(internet.world.folder / "root.pem"))
    async with httpx.AsyncClient(verify=context, timeout=30) as client:
        answer = await client.get(
            f"https://127.0.0.1:{port}/login",
            headers={"Host": f"{name}:{port}"},
            extensions={"sni_hostname": name},
        )
    assert answer.status_code == 200
    stream: ssl.SSLObject = answer.extensions["network_stream"].get_extra_info("ssl_object")
    der = stream.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


async def test_a_certificate_comes_where_only_the_plain_port_can_be_reached(internet: Internet) -> None:
    internet.world.serve(PORTAL, SHOP)
    assert "Pebble" in (await shown(internet, PORTAL)).issuer.rfc4514_string()
    assert "Pebble" in (await shown(internet, SHOP)).issuer.rfc4514_string()


async def plain(internet: Internet, path: str, host: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        place = f"http://127.0.0.1:{internet.world.state.http_port}"
        return await client.get(f"{place}{path}", headers={"Host": host})


@pytest.mark.parametrize("token", ["", "/", "/guessed", "/../login"])
async def test_on_the_plain_port_only_a_challenge_that_runs_is_answered(
    internet: Internet, token: str
) -> None:
    """A guess is redirected like anything else: nothing is served there, and nothing told of who orders."""
    internet.world.serve(PORTAL)
    path = f"/.well-known/acme-challenge{token}"
    known = await plain(internet, path, PORTAL)
    assert (known.status_code, known.content) == (308, b"")
    assert known.headers["location"].startswith(f"https://{PORTAL}:")
    assert (await plain(internet, path, "unknown.customer.org")).status_code == 421


async def test_the_answer_of_ocsp_is_stapled(internet: Internet) -> None:
    """RFC 6066 section 8: whoever visits need not ask the authority, which would learn of the visit."""
    internet.world.serve(PORTAL)
    certificate = await shown(internet, PORTAL)
    await until(lambda: certificate.serial_number in internet.responder.asked)
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{internet.world.state.https_port}"),
        *("-servername", PORTAL, "-status", "-CAfile", str(internet.world.folder / "root.pem")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert b"OCSP Response Status: successful" in said
    assert b"Cert Status: good" in said


@pytest.mark.chaos
@in_many_rounds
@pytest.mark.timeout(300)
async def test_certificates_are_renewed_under_load_without_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serials: set[int] = set()
    failures: list[str] = []
    asked = 0

    async def visit() -> None:
        nonlocal asked
        while len(serials) < 4:
            try:
                serials.add((await shown(internet, PORTAL)).serial_number)
            except (httpx.HTTPError, AssertionError) as error:
                failures.append(repr(error))
            asked += 1
            await asyncio.sleep(0.05)

    async with internet_of(tmp_path, certificateValidityPeriod=LIFE) as internet:
        internet.world.serve(PORTAL)
        await shown(internet, PORTAL)
        async with asyncio.timeout(LIFE * 6):
            await asyncio.gather(*(visit() for _ in range(4)))
    assert failures == []
    tell(capsys, f"{len(serials) - 1} renewals by ACME under load: {asked} handshakes, 0 failed")
