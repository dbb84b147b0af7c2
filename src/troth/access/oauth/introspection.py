"""Introspection (RFC 7662): whether a token is good now, for the client that it was given to.

The caller proves who it is, and learns of its own tokens alone: everything else, be it forged, expired, ended
or another client's, is answered with `active: false` and nothing besides (section 2.2).
"""

from uuid import UUID

import msgspec

from troth.access.errors import InvalidClient, InvalidRequest, NoSession
from troth.access.oauth.authorization_details import Details
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.grant import read_grant
from troth.access.oauth.refresh_tokens import RefreshToken, RefreshTokens
from troth.access.scopes import IDENTITY, ScopeSet, covers, intersect, scope_set
from troth.access.sessions import Sessions
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain
from troth.access.tokens import AccessTokens, Principal
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import Unauthenticated

SIGNED = "token-introspection+jwt"
"""The media type of RFC 9701, without `application/`."""


class Introspected(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 7662 section 2.2, RFC 9470 section 6, RFC 9396 section 9.2."""

    active: bool
    scope: str = ""
    client_id: str = ""
    token_type: str = ""
    exp: int | None = None
    iat: int | None = None
    sub: str = ""
    aud: str = ""
    iss: str = ""
    jti: str = ""
    sid: str = ""
    auth_time: int | None = None
    acr: str = ""
    amr: tuple[str, ...] = ()
    cnf: dict[str, str] | None = None
    authorization_details: Details = ()


INACTIVE = Introspected(active=False)


class Introspection:
    """Looks tokens up: one round trip for a token of ours, none for any other, and none for a while after the
    first when the feed of endings vouches for the grant."""

    def __init__(
        self,
        database: Database,
        sessions: Sessions,
        tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        keys: SigningKeys,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._keys = keys
        self._clock = clock

    async def look(self, domain: Domain, client: Client, request: ClientRequest) -> Introspected:
        """What the client may know of a token. Raises InvalidClient for one that proves nothing: anybody
        could find out which tokens are good (section 4), and InvalidRequest when none is there."""
        if client.is_public:
            raise InvalidClient("introspection is for clients that prove who they are")
        token = request.form.get("token", "")
        if not token:
            raise InvalidRequest("token is missing")
        refresh = await self._refresh_tokens.read(domain, token)
        if refresh is not None:
            return await self._look_at_refresh(domain, client, refresh)
        try:
            principal = await self._tokens.verify(domain, token)
        except Unauthenticated:
            return INACTIVE
        # Before anything is asked: another client's token costs no query and shows nothing by its time.
        if principal.client != client.id:
            return INACTIVE
        rights = await self._rights(domain, principal.session)
        # The API refuses a token that says more than its person may by now; so it is not told as good here.
        if rights is None or not covers(rights, scope_set(principal.reach)):
            return INACTIVE
        return _describe(domain, principal)

    async def sign(self, domain: Domain, client: Client, found: Introspected) -> str:
        """The answer as a token of ours for this caller (RFC 9701 section 5)."""
        said = {
            "iss": domain.issuer,
            "aud": client.id,
            "iat": int(self._clock.now().timestamp()),
            "token_introspection": msgspec.to_builtins(found),
        }
        return (await self._keys.ring(domain)).signer.sign(said, SIGNED)

    async def _rights(self, domain: Domain, session: UUID) -> ScopeSet | None:
        """What the person of a living grant may now, and be told; None when it is over."""
        try:
            found = await self._sessions.open_by_id(domain, session)
        except NoSession:
            return None
        return scope_set((*IDENTITY, *found.person_scopes))

    async def _look_at_refresh(self, domain: Domain, client: Client, token: RefreshToken) -> Introspected:
        row = await self._database.fetchrow(
            "select * from troth.refresh_alive($1, $2, $3, $4, $5)",
            domain.name,
            token.grant,
            token.generation,
            token.secret_hash,
            client.id,
        )
        if row is None or row["outcome"] != "alive":
            return INACTIVE
        grant = read_grant(row)
        rights = await self._rights(domain, grant.session)
        if rights is None:
            return INACTIVE
        granted = scope_set(grant.scopes)
        return Introspected(
            active=True,
            # What the next access token would say.
            scope=str(ScopeSet(granted.identity, intersect(granted.data, rights.data))),
            client_id=client.id,
            sub=str(grant.person),
            iss=domain.issuer,
            sid=str(grant.session),
            auth_time=int(grant.authenticated_at.timestamp()),
            acr=grant.acr,
            amr=grant.amr,
            authorization_details=grant.details,
        )


def _describe(domain: Domain, principal: Principal) -> Introspected:
    authenticated = principal.authenticated_at
    return Introspected(
        active=True,
        scope=" ".join(principal.scopes),
        client_id=principal.client,
        token_type="DPoP" if principal.confirmation.jkt else "Bearer",
        exp=principal.expires_at,
        iat=principal.issued_at,
        sub=str(principal.person),
        aud=domain.audience,
        iss=domain.issuer,
        jti=principal.token_id,
        sid=str(principal.session),
        auth_time=int(authenticated.timestamp()) if authenticated else None,
        acr=principal.acr,
        amr=principal.amr,
        cnf=principal.confirmation.claim,
        authorization_details=principal.details,
    )
