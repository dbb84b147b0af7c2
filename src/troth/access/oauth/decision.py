"""Deciding on an authorization request: sign-in, consent, and at last a code."""

from datetime import timedelta

import msgspec

from troth.access.errors import AccessDenied, ConsentRequired, InvalidScope, LoginRequired
from troth.access.oauth.authorize import AuthorizationRequest, code_location
from troth.access.oauth.clients import Client, may_be_anybodys
from troth.access.scopes import ScopeSet, covers, grant_for_client, scope_set
from troth.access.sessions import Session, token_hash
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.secret import new_token

CODE_LIFETIME = timedelta(seconds=60)


class SignInNeeded(msgspec.Struct, frozen=True):
    """The person has to sign in, or to sign in again."""


class ConsentNeeded(msgspec.Struct, frozen=True):
    """The person has to agree to `scopes` first."""

    scopes: ScopeSet


class Granted(msgspec.Struct, frozen=True):
    """The browser takes a code to the client."""

    location: str


class Decisions:
    """Decides on authorization requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
            "select troth.issue_code($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            domain.name,
            token_hash(code),
            session.id,
            request.client,
            request.redirect_uri,
            list(scopes.texts),
            request.challenge,
            request.nonce or None,
            CODE_LIFETIME,
            request.dpop_jkt or None,
        )
        if not alive:
            raise AccessDenied("the session ended")
        return Granted(code_location(domain, request, code))

    async def _agreed(self, domain: Domain, session: Session, client: Client) -> ScopeSet:
        texts = await self._database.fetchval(
            "select troth.consented($1, $2, $3)", domain.name, session.id, client.id
        )
        return scope_set(texts)
