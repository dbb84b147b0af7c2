"""Grants: consent, authorization codes, and their exchange for tokens.

What a client is granted is a session of its own under the person's session: it dies with it, and ending it
ends every token of that grant.
"""

import base64
import hashlib
import re
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from troth.access.errors import (
    AccessDenied,
    ConsentRequired,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    LoginRequired,
    UnsupportedGrantType,
)
from troth.access.oauth.authorize import AuthorizationRequest, code_location
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client, may_be_anybodys
from troth.access.oauth.id_token import IdTokens
from troth.access.scopes import OPENID, ScopeSet, covers, grant_for_client, scope_set
from troth.access.sessions import Session, Sessions, token_hash
from troth.access.tenants import Domain
from troth.access.tokens import AccessTokens, Bearer
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import Unauthenticated
from troth.core.secret import new_token

CODE_LIFETIME = timedelta(seconds=60)

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class SignInNeeded(msgspec.Struct, frozen=True):
    """The person has to sign in, or to sign in again."""


class ConsentNeeded(msgspec.Struct, frozen=True):
    """The person has to agree to `scopes` first."""

    scopes: ScopeSet


class Granted(msgspec.Struct, frozen=True):
    """The browser takes a code to the client."""

    location: str


class TokenResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str = ""
    id_token: str = ""


class _Redeemed(msgspec.Struct, frozen=True):
    session: UUID
    person: UUID
    scopes: tuple[str, ...]
    nonce: str
    authenticated_at: datetime


class Grants:
    """Decides on authorization requests and answers the token endpoint."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        tokens: AccessTokens,
        id_tokens: IdTokens,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._tokens = tokens
        self._id_tokens = id_tokens
        self._clock = clock

    async def decide(
        self, domain: Domain, request: AuthorizationRequest, client: Client, session: Session | None
    ) -> SignInNeeded | ConsentNeeded | Granted:
        """The next step of a checked request. Raises OAuthError, which is the client's to learn."""
        silent = "none" in request.prompt
        # 1. Somebody is signed in, recently enough.
        if session is None or request.needs_sign_in(session.authenticated_at):
            if silent:
                raise LoginRequired("nobody is signed in")
            return SignInNeeded()
        # 2. Something is left of what was asked for.
        scopes = grant_for_client(request.scopes, client.scopes, scope_set(session.person_scopes))
        if not scopes:
            raise InvalidScope("nothing of this scope can be granted")
        # 3. The person agreed to it in this session. On a loopback address that was for one program only, and
        # who asks now may be another that uses its name (RFC 8252 section 8.6): it is asked each time.
        forgotten = may_be_anybodys(request.redirect_uri)
        agreed = ScopeSet() if forgotten else await self._agreed(domain, session, client)
        if "consent" in request.prompt or not covers(agreed, scopes):
            if silent:
                raise ConsentRequired("the person has to agree first")
            return ConsentNeeded(scopes)
        # 4. A code for it.
        return await self.issue(domain, request, session, scopes)

    async def agree(
        self,
        domain: Domain,
        request: AuthorizationRequest,
        client: Client,
        session: Session,
        *,
        trace: str = "",
    ) -> Granted:
        """The person said yes: remember it for this session and issue the code. Raises OAuthError."""
        scopes = grant_for_client(request.scopes, client.scopes, scope_set(session.person_scopes))
        if not scopes:
            raise InvalidScope("nothing of this scope can be granted")
        await self._database.execute(
            "select troth.remember_consent($1, $2, $3, $4, $5)",
            domain.name,
            session.id,
            client.id,
            list(scopes.texts),
            trace,
        )
        return await self.issue(domain, request, session, scopes)

    async def issue(
        self, domain: Domain, request: AuthorizationRequest, session: Session, scopes: ScopeSet
    ) -> Granted:
        """A code, good once and for a minute. Raises AccessDenied when the session ended meanwhile."""
        code = new_token()
        alive = await self._database.fetchval(
            "select troth.issue_code($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            domain.name,
            token_hash(code),
            session.id,
            request.client,
            request.redirect_uri,
            list(scopes.texts),
            request.challenge,
            request.nonce or None,
            CODE_LIFETIME,
        )
        if not alive:
            raise AccessDenied("the session ended")
        return Granted(code_location(domain, request, code))

    async def exchange(self, domain: Domain, client: Client, request: ClientRequest) -> TokenResponse:
        """The token endpoint (RFC 6749 section 4.1.3, RFC 7636 section 4.5) for a client that proved who it
        is. Raises OAuthError."""
        form = request.form
        # 1. With what?
        if not form.get("grant_type"):
            raise InvalidRequest("grant_type is missing")
        if form["grant_type"] != "authorization_code":
            raise UnsupportedGrantType("the only grant_type is authorization_code")
        # 2. One atomic statement consumes the code, compares and grants; a replay has ended its grant.
        redeemed = await self._redeem(domain, client, form, request.trace)
        # 3. Tokens of that grant.
        bearer = Bearer(redeemed.session, redeemed.person, client.id, redeemed.scopes)
        minted = await self._tokens.mint(domain, bearer)
        id_token = ""
        if OPENID in redeemed.scopes:
            id_token = await self._id_tokens.mint(
                domain,
                client.id,
                person=redeemed.person,
                session=redeemed.session,
                nonce=redeemed.nonce,
                authenticated_at=redeemed.authenticated_at,
            )
        return TokenResponse(
            minted.token, "Bearer", minted.expires_in(self._clock.now()), minted.scope, id_token
        )

    async def revoke(self, domain: Domain, client: Client, request: ClientRequest) -> None:
        """Revocation (RFC 7009): ends the grant of a token that belongs to the client. An unknown token is
        no error. Raises OAuthError on a bad request."""
        form = request.form
        if not form.get("token"):
            raise InvalidRequest("token is missing")
        try:
            principal = await self._tokens.verify(domain, form["token"])
        except Unauthenticated:
            return
        if principal.client == client.id:
            await self._sessions.end_grant(domain, principal.session, client.id, request=request.trace)

    async def _agreed(self, domain: Domain, session: Session, client: Client) -> ScopeSet:
        texts = await self._database.fetchval(
            "select troth.consented($1, $2, $3)", domain.name, session.id, client.id
        )
        return scope_set(texts)

    async def _redeem(self, domain: Domain, client: Client, form: dict[str, str], trace: str) -> _Redeemed:
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
            trace,
        )
        if row is None or row["outcome"] != "granted":
            # Committed already: raising cannot bring the ended grant back.
            raise InvalidGrant("the code or its verifier is not valid", detail=_outcome(row))
        return _Redeemed(
            row["session_id"],
            row["person_id"],
            tuple(row["scopes"]),
            row["nonce"] or "",
            row["authenticated_at"],
        )


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _outcome(row: asyncpg.Record | None) -> str:
    return "no answer" if row is None else str(row["outcome"])
