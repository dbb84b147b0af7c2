"""Access tokens: five minutes of life, one audience, one session (RFC 9068).

A token is signed by its domain's key. That its signature holds is remembered for a while; that its session
lives is asked of the database at every use, so no memory can outlive a logout.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
from uuid_utils import uuid7

from troth.access.cache import BoundedCache
from troth.access.confirmation import ANYBODY, Confirmation, read_confirmation
from troth.access.oauth.authorization_details import scopes_of
from troth.access.scopes import grant_for_session, scope_set
from troth.access.sessions import Session, acr_of
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.errors import Unauthenticated
from troth.core.jose import Claims, TokenError
from troth.core.names import SESSION_CLIENT

ACCESS_TOKEN = "at+jwt"  # noqa: S105 - the media type of RFC 9068
LIFETIME = timedelta(minutes=5)
LEEWAY = timedelta(seconds=2)
"""Instances share a machine's clock, or one kept by NTP."""

RENEW_BEFORE = timedelta(minutes=1)
"""A token handed to an application is good for at least this long."""


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a token is minted. `scopes` are the texts that go into it; `confirmation` is what has to come
    along with it, `details` are authorization_details (RFC 9396)."""

    session: UUID
    person: UUID
    client: str
    scopes: tuple[str, ...]
    authenticated_at: datetime | None = None
    amr: tuple[str, ...] = ()
    confirmation: Confirmation = ANYBODY
    details: tuple[dict[str, object], ...] = ()


class Principal(msgspec.Struct, frozen=True):
    """On whose behalf a verified token speaks. `scopes` are the token's texts; `authenticated_at` and `acr`
    say when and how well the person had proved who they are. `reach` is all that the token allows, as scopes:
    its own, and what its details say (RFC 9396)."""

    tenant: UUID
    person: UUID
    session: UUID
    client: str
    scopes: tuple[str, ...]
    authenticated_at: datetime | None = None
    acr: str = ""
    amr: tuple[str, ...] = ()
    confirmation: Confirmation = ANYBODY
    details: tuple[dict[str, object], ...] = ()
    issued_at: int = 0
    expires_at: int = 0
    token_id: str = ""
    reach: tuple[str, ...] = ()


class Minted(msgspec.Struct, frozen=True):
    """A fresh token."""

    token: str
    scope: str
    expires_at: datetime

    def expires_in(self, now: datetime) -> int:
        """Whole seconds from `now`."""
        return max(0, int((self.expires_at - now).total_seconds()))


_Ids = tuple[UUID, UUID, UUID]

_Wish = tuple[UUID, datetime, tuple[str, ...], tuple[str, ...]]
"""Session, when its person proved who they are, what they may (each change asks for a new token), what was
asked."""


class AccessTokens:
    """Mints and verifies access tokens."""

    def __init__(self, keys: SigningKeys, clock: Clock, *, capacity: int = 8192) -> None:
        self._keys = keys
        self._clock = clock
        self._verified: BoundedCache[tuple[str, bytes], Principal] = BoundedCache(capacity)
        self._by_session: BoundedCache[_Wish, Minted] = BoundedCache(capacity)

    async def mint(self, domain: Domain, bearer: Bearer) -> Minted:
        """Sign a new token for this bearer."""
        now = self._clock.now()
        issued = int(now.timestamp())
        ring = await self._keys.ring(domain)
        claims = Claims(
            iss=domain.issuer,
            aud=domain.audience,
            sub=str(bearer.person),
            sid=str(bearer.session),
            tid=str(domain.tenant_id),
            client_id=bearer.client,
            scope=" ".join(bearer.scopes),
            iat=issued,
            exp=issued + int(LIFETIME.total_seconds()),
            jti=str(uuid7()),
            auth_time=int(bearer.authenticated_at.timestamp()) if bearer.authenticated_at else None,
            acr=acr_of(bearer.amr) if bearer.authenticated_at else "",
            amr=bearer.amr,
            cnf=bearer.confirmation.claim,
            authorization_details=bearer.details,
        )
        expires = datetime.fromtimestamp(claims.exp, now.tzinfo)
        return Minted(ring.signer.sign(claims, ACCESS_TOKEN), claims.scope, expires)

    async def for_session(self, domain: Domain, session: Session, asked: tuple[str, ...] = ()) -> Minted:
        """A token for the domain's own application under a session that was just opened.

        The same one is given again until less than a minute of it is left. Raises ValueError when a scope
        that was asked for follows no grammar.
        """
        wish = session.id, session.authenticated_at, session.person_scopes, asked
        known = self._by_session.get(wish, self._clock.now())
        if known is not None:
            return known
        granted = grant_for_session(scope_set(asked), scope_set(session.person_scopes))
        scopes = tuple(map(str, granted))
        bearer = Bearer(
            session=session.id,
            person=session.person,
            client=SESSION_CLIENT,
            scopes=scopes,
            authenticated_at=session.authenticated_at,
            amr=session.amr,
        )
        minted = await self.mint(domain, bearer)
        self._by_session.put(wish, minted, minted.expires_at - RENEW_BEFORE)
        return minted

    async def verify(self, domain: Domain, token: str) -> Principal:
        """Whom a good access token of this domain speaks for. Raises Unauthenticated. Whether what it is
        bound to came along is for `Authenticator` to check.

        Whether its session still lives is for the caller's query to ask: `troth.session_alive`.
        """
        now = self._clock.now()
        seen = domain.issuer, hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._verified.get(seen, now)
        if known is not None:
            return known
        try:
            claims = await self._keys.verify(domain, token, ACCESS_TOKEN, domain.audience, LEEWAY)
            principal = _principal(claims)
        except TokenError as error:
            detail = f"{error.code}: {error.detail}"
            raise Unauthenticated(
                "The access token is not valid.", error="invalid_token", detail=detail
            ) from None
        self._verified.put(seen, principal, datetime.fromtimestamp(claims.exp, now.tzinfo) + LEEWAY)
        return principal


def _principal(claims: Claims) -> Principal:
    """Raises TokenError when an id in a correctly signed token is none, which is our own fault."""
    try:
        tenant, person, session = msgspec.convert((claims.tid, claims.sub, claims.sid), _Ids)
        confirmation = ANYBODY if claims.cnf is None else read_confirmation(claims.cnf)
        scopes = tuple(claims.scope.split())
    except ValueError as error:
        raise TokenError("malformed", str(error)) from None
    return Principal(
        tenant=tenant,
        person=person,
        session=session,
        client=claims.client_id,
        scopes=scopes,
        authenticated_at=None if claims.auth_time is None else datetime.fromtimestamp(claims.auth_time, UTC),
        acr=claims.acr,
        amr=claims.amr,
        confirmation=confirmation,
        details=claims.authorization_details,
        reach=(*scopes, *scopes_of(claims.authorization_details)) if claims.authorization_details else scopes,
        issued_at=claims.iat,
        expires_at=claims.exp,
        token_id=claims.jti,
    )
