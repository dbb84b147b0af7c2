"""The server under `bench.read`: the real data API, and a route that answers a bare SELECT."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from starlette.applications import Starlette
from starlette.routing import Route

from troth.access.authenticator import Authenticator
from troth.access.dpop import Proofs
from troth.access.signing import SigningKeys
from troth.access.tenants import DomainDirectory
from troth.access.tokens import AccessTokens
from troth.core.clock import SystemClock
from troth.core.db import Database, DatabaseTarget
from troth.core.process import Endpoint
from troth.data.collections import compile_collection
from troth.data.documents import Documents
from troth.data.keys import KeyRing, Sealer, read_root_key
from troth.web.api import routes

SCHEMA: dict[str, Any] = {"type": "object"}


class BareSelect:
    """One SELECT by primary key and its bytes as the answer: no token, scope, row security or sealing."""

    def __init__(self) -> None:
        self.database: Database | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.database is not None
        row = await self.database.fetchrow(
            "select body from troth.bench_plain where id = $1", UUID(scope["path_params"]["id"])
        )
        body: bytes = row["body"] if row else b"{}"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"private, no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def make() -> Starlette:
    """The application, composed as wiring does it, from the environment that `bench.read` sets."""
    folder = Path(os.environ["BENCH_FOLDER"])
    target = DatabaseTarget(
        hosts=(Endpoint("127.0.0.1", int(os.environ["BENCH_DATABASE_PORT"])),),
        user="troth_app",
        ca=Path(os.environ["BENCH_DATABASE_CA"]),
        certificate=folder / "clients" / "troth_app.pem",
        key=folder / "clients" / "troth_app.key",
    )
    bare = BareSelect()

    @asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncGenerator[None]:
        database = await Database.open(target, min_size=8, max_size=8)
        clock = SystemClock()
        ring = KeyRing(database, read_root_key(folder / "root.key"))
        directory = DomainDirectory(database, clock, port=8443)
        tokens = AccessTokens(SigningKeys(database, Sealer(ring), clock), clock)
        authenticator = Authenticator(directory, tokens, Proofs(database, Sealer(ring), clock))
        documents = Documents(database, ring, {"tickets": compile_collection("tickets", "", SCHEMA)})
        bare.database = database
        application.router.routes.extend(routes(documents, authenticator, b"{}"))
        yield
        await database.close()

    return Starlette(routes=[Route("/plain/{id}", bare)], lifespan=lifespan)
