"""Clients that register themselves (RFC 7591) with an invitation, and manage what they registered (RFC 7592).

The invitation (initial access token) and the token that manages a client are 256 random bits each, kept as
SHA-256. The database itself checks them: an instance has no right to change a client.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from troth.access.errors import InvalidToken
from troth.access.oauth.client_authentication import secret_hash
from troth.access.oauth.client_metadata import Metadata, as_document, read_metadata
from troth.access.oauth.clients import MAX_CLIENT_ID, Registration
from troth.access.scopes import scope_set
from troth.access.sessions import token_hash
from troth.access.tenants import Domain
from troth.core.client_kinds import WITH_SECRET
from troth.core.db import Database
from troth.core.secret import new_token

_REFUSED = "the token is not known here, was used up, or is too old"


class _Managed(msgspec.Struct, frozen=True):
    metadata: Metadata
    ceiling: tuple[str, ...]
    created_at: datetime


class Registrations:
    """Registers, shows, replaces and removes clients on their own request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
        self, domain: Domain, invitation: str, document: Mapping[str, object], *, trace: str = ""
    ) -> dict[str, object]:
        """A new client (RFC 7591 section 3). Raises InvalidToken, and OAuthError for its metadata: then the
        invitation is as good as before."""
        ceiling = await self._database.fetchval(
            "select troth.invited_scopes($1, $2)", domain.name, token_hash(invitation)
        )
        if ceiling is None:
            raise InvalidToken(_REFUSED, detail="initial access token")
        metadata = read_metadata(document, scope_set(ceiling))
        client, secret, management = new_token(), _secret_for(metadata), new_token()
        metadata = _named(metadata, client)
        registered = await self._database.fetchval(
            "select troth.register_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            domain.name,
            token_hash(invitation),
            client,
            *_columns(metadata),
            secret_hash(secret) if secret else None,
            token_hash(management),
            trace,
            idempotent=True,
        )
        if not registered:
            raise InvalidToken(_REFUSED, detail="initial access token, meanwhile")
        return {**_told(domain, client, metadata, management), **_secret_told(secret)}

    async def read(self, domain: Domain, client: str, token: str) -> dict[str, object]:
        """What is registered (RFC 7592 section 2.1). The secret cannot be told again: its hash alone is kept.
        Raises InvalidToken."""
        found = await self._managed(domain, client, token)
        issued = {"client_id_issued_at": int(found.created_at.timestamp())}
        return {**_told(domain, client, found.metadata, token), **issued}

    async def replace(
        self, domain: Domain, client: str, token: str, document: Mapping[str, object], *, trace: str = ""
    ) -> dict[str, object]:
        """Replace all of it (RFC 7592 section 2.2), and the token with it. A secret is made when the method
        needs one and did not before. Raises InvalidToken or OAuthError; then nothing has changed."""
        found = await self._managed(domain, client, token)
        metadata = _named(read_metadata(document, scope_set(found.ceiling)), client)
        secret = "" if _needs_secret(found.metadata) else _secret_for(metadata)
        management = new_token()
        replaced = await self._database.fetchval(
            "select troth.replace_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            domain.name,
            client,
            token_hash(token),
            *_columns(metadata),
            secret_hash(secret) if secret else None,
            _needs_secret(metadata),
            token_hash(management),
            trace,
            idempotent=True,
        )
        if not replaced:
            raise InvalidToken(_REFUSED, detail="registration access token, meanwhile")
        return {**_told(domain, client, metadata, management), **_secret_told(secret)}

    async def remove(self, domain: Domain, client: str, token: str, *, trace: str = "") -> None:
        """The client goes, and everything that it was granted (RFC 7592 section 2.3). Raises InvalidToken."""
        await self._managed(domain, client, token)
        await self._database.execute(
            "select troth.remove_client($1, $2, $3, $4)",
            domain.name,
            client,
            token_hash(token),
            trace,
            idempotent=False,
        )

    async def _managed(self, domain: Domain, client: str, token: str) -> _Managed:
        row: Any = None
        if len(client) <= MAX_CLIENT_ID and client.isascii() and client.isprintable():
            row = await self._database.fetchrow(
                "select * from troth.managed_client($1, $2, $3)",
                domain.name,
                client,
                token_hash(token),
                idempotent=True,
            )
        if row is None:
            raise InvalidToken(_REFUSED, detail="registration access token")
        registration = msgspec.json.decode(row["registration"], type=Registration)
        metadata = Metadata(row["name"], tuple(row["redirect_uris"]), scope_set(row["scopes"]), registration)
        return _Managed(metadata, tuple(row["ceiling"]), row["created_at"])


def _named(metadata: Metadata, client: str) -> Metadata:
    """People are asked about a client by its name: one without gets the host that it leads to."""
    host = urlsplit(metadata.redirect_uris[0]).hostname if metadata.redirect_uris else None
    return metadata if metadata.name else msgspec.structs.replace(metadata, name=host or client)


def _needs_secret(metadata: Metadata) -> bool:
    return metadata.registration.token_endpoint_auth_method in WITH_SECRET


def _secret_for(metadata: Metadata) -> str:
    return new_token() if _needs_secret(metadata) else ""


def _columns(metadata: Metadata) -> tuple[str, list[str], list[str], str]:
    return (
        metadata.name,
        list(metadata.redirect_uris),
        list(metadata.scopes.texts),
        msgspec.json.encode(metadata.registration).decode(),
    )


def _told(domain: Domain, client: str, metadata: Metadata, management: str) -> dict[str, object]:
    """RFC 7591 section 3.2.1, RFC 7592 section 3."""
    return {
        "client_id": client,
        "registration_client_uri": f"{domain.issuer}/oauth/register/{client}",
        "registration_access_token": management,
        **as_document(metadata),
    }


def _secret_told(secret: str) -> dict[str, object]:
    return {"client_secret": secret, "client_secret_expires_at": 0} if secret else {}
