"""A client with a TLS certificate, from its handshake with the real edge to the API (RFC 8705)."""

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from granian.constants import Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.embed import Server
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from support.access import House, RunningClock, furnish
from support.browser import WebAccess
from support.client_keys import PrivateKey, public_jwk
from support.clients import add_client
from support.edge import World, listening
from support.served import run_npm, with_api
from troth.access.authenticator import Authenticator
from troth.access.oauth.certificates import certificate_thumbprint
from troth.access.tenants import DomainDirectory
from troth.core.ca import LeafFiles, Subject
from troth.core.db import Database
from troth.core.jose_clients import read_client_keys
from troth.hosting.edge_admin import EdgeAdmin, caddy_binary, config_file, start_spec
from troth.hosting.edge_state import service_name
from troth.hosting.health import READY_PATH

REDIRECT = "http://127.0.0.1/callback"


@asynccontextmanager
async def behind_the_edge(web: WebAccess, folder: Path) -> AsyncGenerator[tuple[World, House]]:
    """The real edge, and behind it one instance of the real routes that takes no other caller."""
    world = World(folder)
    web.directory = DomainDirectory(web.database, web.clock, port=world.state.https_port)
    web.authenticator = Authenticator(web.directory, web.tokens, web.proofs)
    house = await furnish(web)
    domains = (world.authorities.domain(house.domain.name, "portal"),)
    world.state = msgspec.structs.replace(world.state, domains=domains)
    world.admin = EdgeAdmin(world.state.admin_socket, config_file(world.state))
    world.spec = start_spec(world.state, binary=caddy_binary(), log=folder / "caddy.out")
    server = instance(world, web)
    task = asyncio.create_task(server.serve())
    try:
        await listening(world.state.web[0].port)
        world.run_edge(world.spec)
        await listening(world.state.https_port)
        yield world, house
    finally:
        await world.stop()
        server.stop()
        await task


def instance(world: World, web: WebAccess) -> Server:
    subject = Subject(common_name="web-0", dns=(service_name("web"),), usage="server")
    leaf = world.authorities.leaf("instances", subject, "web-0")
    app = with_api(web)
    app.router.routes.append(Route(READY_PATH, _ready))
    return Server(
        app,
        address="127.0.0.1",
        port=world.state.web[0].port,
        interface=Interfaces.ASGINL,
        log_level=LogLevels.error,
        ssl_cert=leaf.certificate,
        ssl_key=leaf.key,
        ssl_protocol_min=SSLProtocols.tls13,
        ssl_ca=world.authorities.ca("callers"),
        ssl_client_verify=True,
    )


async def _ready(_: Request) -> Response:
    return Response("ready")


def certificate_of(world: World, name: str) -> tuple[LeafFiles, bytes, dict[str, Any]]:
    """A client's own certificate: its files, its DER, and the key as it is registered."""
    files = world.authorities.leaf("apps", Subject(common_name=name, usage="client"), name)
    der = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_bytes(Encoding.DER)
    key = load_pem_private_key(files.key.read_bytes(), None)
    assert isinstance(key, PrivateKey)
    return files, der, public_jwk(key, kid="k", x5c=[base64.b64encode(der).decode()])


async def test_a_certificate_proves_the_client_and_its_tokens_are_bound_to_it(
    database: Database, owner_database: Database, auditor_database: Database, tmp_path: Path
) -> None:
    web = WebAccess(database, owner_database, auditor_database, clock=RunningClock())
    async with behind_the_edge(web, tmp_path) as (world, house):
        files, der, jwk = certificate_of(world, "bank")
        other, _, _ = certificate_of(world, "stranger")
        registration: dict[str, Any] = {
            "token_endpoint_auth_method": "self_signed_tls_client_auth",
            "tls_client_certificate_bound_access_tokens": True,
            "jwks": read_client_keys([jwk]),
        }
        await add_client(house, "bank", redirect_uris=(REDIRECT,), **registration)
        alias = f"https://mtls.{house.domain.name}:{world.state.https_port}"
        seen = await run_npm(
            "mutual_tls.mjs",
            {
                "issuer": house.domain.issuer,
                "ca": str(world.authorities.ca("public")),
                "cookie": (await house.begin()).token,
                "redirect": REDIRECT,
                "scope": "tickets:read",
                "api": f"{alias}/api/v1/tickets?limit=1",
                "client": "bank",
                "certificate": str(files.certificate),
                "key": str(files.key),
                "strangerCertificate": str(other.certificate),
                "strangerKey": str(other.key),
            },
        )
    assert seen["endpoint"] == f"{alias}/oauth/token"
    assert (seen["pushed"], seen["stolen"]) == ("invalid_client", "invalid_client")
    assert seen["cnf"] == {"x5t#S256": certificate_thumbprint(der)}
    assert (seen["opened"], seen["foreign"], seen["bare"]) == (200, 401, 401)
