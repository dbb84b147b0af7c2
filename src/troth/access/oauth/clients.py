"""Third-party clients, registered for one tenant. They are public: PKCE takes the place of a secret."""

import re

import msgspec

from troth.access.scopes import ScopeSet, scope_set
from troth.access.tenants import Domain
from troth.core.db import Database

MAX_CLIENT_ID = 100

_LOOPBACK = re.compile(
    r"(?P<host>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>\d{1,5}))?(?P<rest>(?:/[^\s#\\]*)?)", re.ASCII
)


class Client(msgspec.Struct, frozen=True):
    """A registered client. `scopes` is the most it may ever get."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: ScopeSet

    def accepts_redirect(self, uri: str) -> bool:
        """Whether a response may be sent there: an exact match, save the port of a loopback address."""
        return any(_same_redirect(registered, uri) for registered in self.redirect_uris)


class Clients:
    """Looks clients up in the domain's tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, domain: Domain, client: str) -> Client | None:
        """The client, or None when the tenant has none of this id, or it was disabled."""
        if not client or len(client) > MAX_CLIENT_ID or not client.isascii() or not client.isprintable():
            return None
        row = await self._database.fetchrow("select * from troth.find_client($1, $2)", domain.name, client)
        if row is None:
            return None
        return Client(row["id"], row["name"], tuple(row["redirect_uris"]), scope_set(row["scopes"]))


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
