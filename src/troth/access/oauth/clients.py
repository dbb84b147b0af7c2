"""Clients: the applications that ask for tokens, each registered for one tenant with what it may do."""

import re
from typing import Protocol
from uuid import UUID

import msgspec

from troth.access.endings import Ending
from troth.access.living import client_ref
from troth.access.scopes import ScopeSet, scope_set
from troth.access.sessions import Mark
from troth.access.tenants import Domain
from troth.core.client_kinds import (
    CODE_GRANT,
    DEVICE_GRANT,
    GRANT_TYPES,
    METHODS,
    REFRESH_GRANT,
    AuthMethod,
)
from troth.core.db import Database
from troth.core.registration import Registration

__all__ = [
    "CODE_GRANT",
    "DEVICE_GRANT",
    "GRANT_TYPES",
    "METHODS",
    "REFRESH_GRANT",
    "AuthMethod",
    "Client",
    "Clients",
    "Registration",
    "may_be_anybodys",
]

MAX_CLIENT_ID = 100

_LOOPBACK = re.compile(
    r"(?P<host>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>\d{1,5}))?(?P<rest>(?:/[^\s#\\]*)?)", re.ASCII
)


class Client(Registration, frozen=True):
    """A registered client. `scopes` is the most it may ever get; `secret_hashes` are the SHA-256 of the
    secrets that are good now."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: ScopeSet
    secret_hashes: tuple[bytes, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether anybody can call himself this client: PKCE then takes the place of a secret."""
        return self.token_endpoint_auth_method == "none"  # noqa: S105 - a method

    @property
    def needs_pkce(self) -> bool:
        """Only a client that proves who it is can do without (RFC 9700 section 2.1.1)."""
        return self.require_pkce or self.is_public

    def accepts_redirect(self, uri: str) -> bool:
        """Whether a response may be sent there: an exact match, save the port of a loopback address."""
        return any(_same_redirect(registered, uri) for registered in self.redirect_uris)

    def may_use(self, grant_type: str) -> bool:
        """Whether the client was registered for this grant (RFC 7591 section 2, `grant_types`)."""
        return grant_type in self.grant_types


class Known(msgspec.Struct, frozen=True):
    """A client, and whose it is."""

    tenant: UUID
    client: Client


def changes(ending: Ending, known: Known) -> bool:
    """Whether an ending is about this client: it was changed, disabled or removed, or a secret of it was."""
    match ending.kind:
        case "client":
            return ending.ref == client_ref(known.tenant, known.client.id)
        case "tenant":
            return ending.ref == str(known.tenant)
        case "all":
            return True
        case _:
            return False


class ClientMemory(Protocol):
    """Clients that are known to be as they were (`access.living`)."""

    def vouch(self, key: tuple[str, str]) -> Known | None: ...
    def mark(self) -> Mark | None: ...
    def keep(self, mark: Mark | None, key: tuple[str, str], value: Known) -> None: ...


class Clients:
    """Looks clients up in the domain's tenant."""

    def __init__(self, database: Database, memory: ClientMemory | None = None) -> None:
        self._database = database
        self._memory = memory

    async def find(self, domain: Domain, client: str) -> Client | None:
        """The client, or None when the tenant has none of this id, or it was disabled."""
        if not client or len(client) > MAX_CLIENT_ID or not client.isascii() or not client.isprintable():
            return None
        memory, key = self._memory, (domain.name, client)
        if memory is not None and (known := memory.vouch(key)) is not None:
            return known.client
        mark = memory.mark() if memory is not None else None
        found = await self._ask(domain, client)
        if memory is not None and found is not None:
            memory.keep(mark, key, Known(domain.tenant_id, found))
        return found

    async def _ask(self, domain: Domain, client: str) -> Client | None:
        row = await self._database.fetchrow("select * from troth.find_client($1, $2)", domain.name, client)
        if row is None:
            return None
        registration = msgspec.json.decode(row["registration"], type=Registration)
        return Client(
            row["id"],
            row["name"],
            tuple(row["redirect_uris"]),
            scope_set(row["scopes"]),
            tuple(row["secret_hashes"]),
            **msgspec.structs.asdict(registration),
        )


def may_be_anybodys(redirect_uri: str) -> bool:
    """Whether any program on the person's machine could listen there and call itself this client."""
    return _loopback_without_port(redirect_uri) is not None


def _same_redirect(registered: str, uri: str) -> bool:
    # A pattern or prefix match is how codes are stolen (RFC 9700 section 4.1): compare the text itself.
    if registered == uri:
        return True
    loopback = _loopback_without_port(registered)
    return loopback is not None and loopback == _loopback_without_port(uri)


def _loopback_without_port(uri: str) -> str | None:
    """A native application listens wherever a port is free (RFC 8252 section 7.3); all else has to match."""
    match = _LOOPBACK.fullmatch(uri)
    if match is None or int(match["port"] or 80) > 65_535:
        return None
    return match["host"] + match["rest"]
