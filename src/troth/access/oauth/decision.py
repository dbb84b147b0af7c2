"""Deciding on an authorization request: sign-in, consent, and at last a code."""

from datetime import timedelta

import msgspec
from uuid_utils.compat import uuid7

from troth.access.errors import (
    AccessDenied,
    ConsentRequired,
    InvalidAuthorizationDetails,
    InvalidScope,
    LoginRequired,
    UnmetAuthentication,
)
from troth.access.oauth.authorization_details import Detail, grant_details, to_wire, wished_scopes
from troth.access.oauth.authorize import AuthorizationRequest, code_location
from troth.access.oauth.clients import Client, may_be_anybodys
from troth.access.scopes import ScopeSet, covers, grant_for_client, reduce_scopes, scope_set
from troth.access.sessions import Session, token_hash
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.secret import new_token

CODE_LIFETIME = timedelta(seconds=60)


class SignInNeeded(msgspec.Struct, frozen=True):
    """The person has to sign in, or to sign in again."""


class StepUpNeeded(msgspec.Struct, frozen=True):
    """The person has to prove more (RFC 9470), up to this acr."""

    acr: str


class Granting(msgspec.Struct, frozen=True):
    """What is left of a request: scopes, and authorization_details (RFC 9396)."""

    scopes: ScopeSet
    details: tuple[Detail, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.scopes or self.details)

    @property
    def all(self) -> ScopeSet:
        """Both as scopes: what a person agrees to."""
        data = (*self.scopes.data, *wished_scopes(self.details))
        return ScopeSet(self.scopes.identity, reduce_scopes(data))


class ConsentNeeded(msgspec.Struct, frozen=True):
    """The person has to agree to this first."""

    granting: Granting


class Granted(msgspec.Struct, frozen=True):
    """The browser takes a code to the client."""

    location: str


class Decisions:
    """Decides on authorization requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def decide(
        self, domain: Domain, request: AuthorizationRequest, client: Client, session: Session | None
    ) -> SignInNeeded | StepUpNeeded | ConsentNeeded | Granted:
        """The next step of a checked request. Raises OAuthError, which is the client's to learn."""
        silent = "none" in request.prompt
        # 1. Somebody is signed in, recently enough.
        if session is None or request.needs_sign_in(session.authenticated_at):
            if silent:
                raise LoginRequired("nobody is signed in")
            return SignInNeeded()
        # 2. They proved as much as the client wants.
        if not request.is_met_by(session.acr):
            if silent:
                raise UnmetAuthentication("the person would have to prove more")
            return StepUpNeeded(min(request.acr_values))
        # 3. Something is left of what was asked for.
        granting = _granting(request, client, session)
        # 4. The person agreed to it in this session. On a loopback address that was for one program only, and
        # who asks now may be another that uses its name (RFC 8252 section 8.6): it is asked each time.
        forgotten = may_be_anybodys(request.redirect_uri)
        agreed = ScopeSet() if forgotten else await self._agreed(domain, session, client)
        if "consent" in request.prompt or not covers(agreed, granting.all):
            if silent:
                raise ConsentRequired("the person has to agree first")
            return ConsentNeeded(granting)
        # 5. A code for it.
        return await self.issue(domain, request, session, granting)

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
        granting = _granting(request, client, session)
        await self._database.execute(
            "select troth.remember_consent($1, $2, $3, $4, $5, $6)",
            domain.name,
            session.id,
            client.id,
            list(granting.all.texts),
            trace,
            uuid7(),
            idempotent=True,
        )
        return await self.issue(domain, request, session, granting)

    async def issue(
        self, domain: Domain, request: AuthorizationRequest, session: Session, granting: Granting
    ) -> Granted:
        """A code, good once and for a minute. Raises AccessDenied when the session ended meanwhile."""
        code = new_token()
        alive = await self._database.fetchval(
            "select troth.issue_code($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            domain.name,
            token_hash(code),
            session.id,
            request.client,
            request.redirect_uri,
            list(granting.scopes.texts),
            request.challenge,
            request.nonce or None,
            CODE_LIFETIME,
            request.dpop_jkt or None,
            msgspec.json.encode(to_wire(granting.details)).decode() if granting.details else None,
            idempotent=True,
        )
        if not alive:
            raise AccessDenied("the session ended")
        return Granted(code_location(domain, request, code))

    async def _agreed(self, domain: Domain, session: Session, client: Client) -> ScopeSet:
        texts = await self._database.fetchval(
            "select troth.consented($1, $2, $3)", domain.name, session.id, client.id
        )
        return scope_set(texts)


def _granting(request: AuthorizationRequest, client: Client, session: Session) -> Granting:
    """asked ∩ client ∩ person. Raises InvalidScope when nothing is left, and InvalidAuthorizationDetails when
    details were asked for and nothing is left of them."""
    person = scope_set(session.person_scopes)
    # Details are a wish: a client that asks by them alone does not get all that it was registered for.
    wants_scopes = bool(request.scopes) or not request.details
    scopes = grant_for_client(request.scopes, client.scopes, person) if wants_scopes else ScopeSet()
    details = grant_details(request.details, client.scopes, person)
    if request.details and not details:
        raise InvalidAuthorizationDetails("nothing of these authorization_details can be granted")
    granting = Granting(scopes, details)
    if not granting:
        raise InvalidScope("nothing of this scope can be granted")
    return granting
