"""Certificates for public names come by ACME (RFC 8555) from Debian's `pebble`, for known domains alone."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography import x509

from support.edge import World
from support.name_server import NameServer, name_server
from support.pebble import Pebble, pebble
from troth.hosting.edge_admin import caddy_binary, start_spec
from troth.hosting.edge_state import Acme

PORTAL = "portal.customer.org"


class Internet(msgspec.Struct, frozen=True):
    """The edge, the certificate authority that it orders from, and the name server that both believe."""

    world: World
    acme: Pebble
    names: NameServer


@pytest.fixture(scope="module")
async def internet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    folder = tmp_path_factory.mktemp("acme")
    world = World(folder, on_demand=True)
    ports = {"http_port": world.state.http_port, "tls_port": world.state.https_port}
    async with name_server() as names, pebble(folder, name_server=names.port, **ports) as acme:
        order_from(world, acme)
        try:
            await world.start()
            yield Internet(world, acme, names)
        finally:
            await world.stop()


def order_from(world: World, acme: Pebble) -> None:
    settings = Acme(directory=acme.directory, contact="operator@platform.example", roots=(acme.authority,))
    assert world.state.on_demand is not None
    demand = msgspec.structs.replace(world.state.on_demand, acme=settings)
    world.state = msgspec.structs.replace(world.state, on_demand=demand)
    world.spec = start_spec(world.state, binary=caddy_binary(), log=world.folder / "caddy.out")


async def issuer_at(internet: Internet, name: str, folder: Path) -> str:
    """Who issued the certificate that a browser accepts which trusts nothing but the ACME server's root."""
    root = folder / "root.pem"
    root.write_bytes(await internet.acme.root())
    port = internet.world.state.https_port
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(root)), timeout=30) as client:
        answer = await client.get(
            f"https://127.0.0.1:{port}/login",
            headers={"Host": f"{name}:{port}"},
            extensions={"sni_hostname": name},
        )
    assert answer.json()["name"].startswith("web-")
    stream: ssl.SSLObject = answer.extensions["network_stream"].get_extra_info("ssl_object")
    der = stream.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).issuer.rfc4514_string()


async def test_a_domain_added_at_run_time_gets_its_certificate_at_its_first_handshake(
    internet: Internet, tmp_path: Path
) -> None:
    internet.world.serve(PORTAL)
    before = internet.acme.orders()
    assert "Pebble" in await issuer_at(internet, PORTAL, tmp_path)
    assert internet.acme.orders() == before + 1
    assert "Pebble" in await issuer_at(internet, PORTAL, tmp_path)
    assert internet.acme.orders() == before + 1  # kept, and not ordered again


async def test_each_domain_gets_a_certificate_of_its_own(internet: Internet, tmp_path: Path) -> None:
    names = [f"{word}.customer.org" for word in ("one", "two", "three")]
    internet.world.serve(PORTAL, *names)
    for name in names:
        assert "Pebble" in await issuer_at(internet, name, tmp_path)


async def test_for_an_unknown_name_no_order_is_made(internet: Internet, tmp_path: Path) -> None:
    internet.world.serve(PORTAL)
    before, asked = internet.acme.orders(), len(internet.names.asked)
    for name in ("unknown.customer.org", "mtls.unknown.customer.org", "a.b.c.org"):
        with pytest.raises(httpx.ConnectError):
            await issuer_at(internet, name, tmp_path)
    assert internet.acme.orders() == before
    assert len(internet.names.asked) == asked


@pytest.mark.parametrize("name", ["local.localhost", "a.b.c.customer.internal", "demo.test"])
async def test_for_a_local_name_our_own_authority_signs_and_no_order_is_made(
    internet: Internet, name: str
) -> None:
    internet.world.serve(name)
    before = internet.acme.orders()
    async with internet.world.browser(name) as browser:
        assert (await browser.get("/login")).status_code == 200
    assert internet.acme.orders() == before


async def test_the_alias_of_a_public_domain_has_a_certificate_too(internet: Internet, tmp_path: Path) -> None:
    internet.world.serve(PORTAL)
    root = tmp_path / "root.pem"
    root.write_bytes(await internet.acme.root())
    name, port = f"mtls.{PORTAL}", internet.world.state.https_port
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(root)), timeout=30) as client:
        answer = await client.get(
            f"https://127.0.0.1:{port}/oauth/token",
            headers={"Host": f"{name}:{port}"},
            extensions={"sni_hostname": name},
        )
    assert answer.status_code == 200


async def test_domains_that_the_edge_was_told_keep_the_certificates_of_our_own_authority(
    internet: Internet,
) -> None:
    async with internet.world.browser() as browser:
        assert (await browser.get("/login")).status_code == 200
