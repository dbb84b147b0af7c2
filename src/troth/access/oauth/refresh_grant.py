"""The grant type refresh_token (RFC 6749 section 6), rotating as RFC 9700 section 4.14 wants it.

docs/decisions/refresh.md says why two tabs that refresh at once do not end a grant, and a thief does.
"""

from datetime import timedelta

from uuid_utils.compat import uuid7

from troth.access.confirmation import Confirmation
from troth.access.errors import InvalidGrant, InvalidRequest, InvalidScope
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.grant import Grant, outcome_of, read_grant
from troth.access.oauth.refresh_tokens import RefreshToken, RefreshTokens
from troth.access.oauth.renewals import Renewal, Renewals
from troth.access.scopes import ScopeSet, asked_scopes, grant_for_client, intersect, scope_set
from troth.access.tenants import Domain
from troth.core.db import Database

OVERLAP = timedelta(seconds=10)
"""For how long the token that was just exchanged gives the same successor again."""

OVERLAP_OF_ANYBODY = timedelta(seconds=5)
"""The same for a client that proves nothing, neither itself nor a key: here a thief looks like it."""

_REFUSED = "the refresh token is not valid"


class RefreshGrant:
    """Exchanges refresh tokens."""

    def __init__(self, database: Database, tokens: RefreshTokens) -> None:
        self._database = database
        self._tokens = tokens
        self._renewals = Renewals(database)

    async def redeem(
        self, domain: Domain, client: Client, request: ClientRequest, confirmation: Confirmation
    ) -> Grant:
        """The grant of a refresh token, with its successor. Raises OAuthError."""
        text = request.form.get("refresh_token", "")
        if not text:
            raise InvalidRequest("refresh_token is missing")
        # 1. It is one that we made for this domain; what is not costs no query.
        token = await self._tokens.read(domain, text)
        if token is None:
            raise InvalidGrant(_REFUSED, detail="forged")
        # 2. Nothing is asked for that was not granted; a wish that cannot be met uses nothing up.
        asked = asked_scopes(request.form.get("scope", ""))
        if asked:
            await self._check_wish(domain, client, token, asked)
        # 3. One statement takes it, gives the same successor again, or ends the family: see the function.
        row = await self._renewals.renew(
            Renewal(
                domain=domain.name,
                grant=token.grant,
                generation=token.generation,
                secret_hash=token.secret_hash,
                client=client.id,
                confirmation=bound_family(client, confirmation),
                overlap=OVERLAP_OF_ANYBODY if client.is_public and not confirmation else OVERLAP,
                trace=request.trace,
                call=uuid7(),
            )
        )
        if row is None or row["outcome"] not in ("renewed", "repeated"):
            # Committed already: raising cannot bring an ended family back.
            raise InvalidGrant(_REFUSED, detail=outcome_of(row))
        # 4. What of it the client and the person may still do today (a role or registration may have
        # changed).
        grant = read_grant(row)
        return await self._narrowed(domain, client, grant, token, asked)

    async def _check_wish(self, domain: Domain, client: Client, token: RefreshToken, asked: ScopeSet) -> None:
        row = await self._database.fetchrow(
            "select * from troth.refresh_alive($1, $2, $3, $4, $5)",
            domain.name,
            token.grant,
            token.generation,
            token.secret_hash,
            client.id,
        )
        if row is not None and row["outcome"] == "alive":
            _narrow(scope_set(row["scopes"]), asked)

    async def _narrowed(
        self, domain: Domain, client: Client, grant: Grant, token: RefreshToken, asked: ScopeSet
    ) -> Grant:
        granted = _narrow(scope_set(grant.scopes), asked)
        scopes = grant_for_client(granted, client.scopes, scope_set(grant.person_scopes))
        return Grant(
            session=grant.session,
            person=grant.person,
            scopes=scopes.texts,
            authenticated_at=grant.authenticated_at,
            amr=grant.amr,
            details=grant.details,
            refresh_token=await self._tokens.write(domain, token.of_generation(token.generation + 1)),
        )


def bound_family(client: Client, confirmation: Confirmation) -> str | None:
    """What a family is bound to. A confidential client proves itself each time, and may change its keys; of a
    public one the key is all there is to know it by (RFC 9449 section 5)."""
    return confirmation.stored if client.is_public else None


def _narrow(granted: ScopeSet, asked: ScopeSet) -> ScopeSet:
    """asked ∩ granted. Raises InvalidScope when something is asked of which nothing was granted."""
    if not asked:
        return granted
    for text in asked.texts:
        if not _common(granted, scope_set([text])):
            raise InvalidScope("the scope is wider than what was granted")
    return _common(granted, asked)


def _common(granted: ScopeSet, asked: ScopeSet) -> ScopeSet:
    identity = tuple(name for name in asked.identity if name in granted.identity)
    return ScopeSet(identity, intersect(asked.data, granted.data))
