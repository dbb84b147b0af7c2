"""The grant type authorization_code (RFC 6749 section 4.1.3, RFC 7636 section 4.5)."""

import base64
import hashlib
import re
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.confirmation import Confirmation
from troth.access.errors import InvalidGrant, InvalidRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import REFRESH_GRANT, Client
from troth.access.oauth.grant import Grant, outcome_of, read_grant
from troth.access.oauth.refresh_grant import bound_family
from troth.access.oauth.refresh_tokens import RefreshToken, RefreshTokens, first_token
from troth.access.sessions import token_hash
from troth.access.tenants import Domain
from troth.core.db import Database

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

_REFUSED = "the code or its verifier is not valid"


class CodeGrant:
    """Exchanges authorization codes."""

    def __init__(self, database: Database, tokens: RefreshTokens) -> None:
        self._database = database
        self._tokens = tokens

    async def redeem(
        self, domain: Domain, client: Client, request: ClientRequest, confirmation: Confirmation
    ) -> Grant:
        """What the code stands for. One atomic statement consumes it, compares and grants; a replay has ended
        its grant. Raises OAuthError."""
        form = request.form
        code, verifier = form.get("code", ""), form.get("code_verifier", "")
        if not code or (client.needs_pkce and not verifier):
            raise InvalidRequest("code and code_verifier are needed")
        if not _CODE.fullmatch(code) or (verifier and not _VERIFIER.fullmatch(verifier)):
            raise InvalidGrant(_REFUSED, detail="malformed")
        refresh = new_refresh_token(client, uuid7())
        row = await self._database.fetchrow(
            "select * from troth.redeem_code($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            domain.name,
            token_hash(code),
            client.id,
            form.get("redirect_uri"),
            # A verifier without a challenge, or the other way round, is a mismatch (PKCE downgrade).
            challenge_of(verifier) if verifier else "",
            refresh.grant,
            refresh.secret_hash if refresh.secret else None,
            confirmation.jkt or None,
            bound_family(client, confirmation),
            request.trace,
            idempotent=True,
        )
        if row is None or row["outcome"] != "granted":
            # Committed already: raising cannot bring the ended grant back.
            raise InvalidGrant(_REFUSED, detail=outcome_of(row))
        return await with_refresh_token(self._tokens, domain, read_grant(row), refresh)


def new_refresh_token(client: Client, grant: UUID) -> RefreshToken:
    """The first of a grant; without a secret when the client was not registered for refresh tokens."""
    return first_token(grant) if client.may_use(REFRESH_GRANT) else RefreshToken(grant, 0, b"")


async def with_refresh_token(
    tokens: RefreshTokens, domain: Domain, grant: Grant, refresh: RefreshToken
) -> Grant:
    """The grant as it began, with the token to hand out."""
    text = await tokens.write(domain, refresh) if refresh.secret else ""
    return msgspec.structs.replace(grant, refresh_token=text)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
