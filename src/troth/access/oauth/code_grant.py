"""The grant type authorization_code (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""

import base64
import hashlib
import re

import asyncpg
from uuid_utils.compat import uuid7

from troth.access.errors import InvalidGrant, InvalidRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.grant import Grant
from troth.access.sessions import token_hash
from troth.access.tenants import Domain
from troth.core.db import Database

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class CodeGrant:
    """Exchanges authorization codes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def redeem(self, domain: Domain, client: Client, request: ClientRequest) -> Grant:
        """What the code stands for. One atomic statement consumes it, compares and grants; a replay has ended
        its grant. Raises OAuthError."""
        form = request.form
        code, verifier = form.get("code", ""), form.get("code_verifier", "")
        if not code or (client.needs_pkce and not verifier):
            raise InvalidRequest("code and code_verifier are needed")
        if not _CODE.fullmatch(code) or (verifier and not _VERIFIER.fullmatch(verifier)):
            raise InvalidGrant("the code or its verifier is not valid", detail="malformed")
        row = await self._database.fetchrow(
            "select * from troth.redeem_code($1, $2, $3, $4, $5, $6, $7)",
            domain.name,
            token_hash(code),
            client.id,
            form.get("redirect_uri"),
            # A verifier without a challenge, or the other way round, is a mismatch (PKCE downgrade).
            challenge_of(verifier) if verifier else "",
            uuid7(),
            request.trace,
        )
        if row is None or row["outcome"] != "granted":
            # Committed already: raising cannot bring the ended grant back.
            raise InvalidGrant("the code or its verifier is not valid", detail=_outcome(row))
        return Grant(
            session=row["session_id"],
            person=row["person_id"],
            scopes=tuple(row["scopes"]),
            authenticated_at=row["authenticated_at"],
            nonce=row["nonce"] or "",
        )


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _outcome(row: asyncpg.Record | None) -> str:
    return "no answer" if row is None else str(row["outcome"])
