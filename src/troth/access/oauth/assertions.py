"""Client assertions: a client proves who it is with a token it signed (RFC 7523, OpenID Connect Core 9).

The audience is our issuer and nothing besides. A client that puts in whatever its server's metadata calls the
token endpoint can be led, by metadata of a server that means it ill, to sign an assertion for us and to hand
it to that server (audience injection, published in January 2025). For libraries that know no other way the
token endpoint's address can be allowed for one client, at that endpoint alone.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from troth.access.errors import InvalidClient
from troth.access.oauth.clients import Client
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.jose_clients import ClientKeys, claimed_subject
from troth.core.jose_parts import TokenError, check_time, refuse

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TYPES = (None, "JWT", "client-authentication+jwt")
"""RFC 7523 asks for no `typ`; its successor does. None of them is the type of another kind of token."""

LONGEST = timedelta(minutes=10)
LEEWAY = timedelta(seconds=30)
"""A client's clock is not ours."""


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: int
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    iat: int | None = None
    nbf: int | None = None


def subject_of(assertion: str) -> str:
    """The client that an assertion claims to be of; nothing about it is proved. Raises InvalidClient."""
    try:
        return claimed_subject(assertion)
    except TokenError as error:
        raise _refused(error) from None


class Assertions:
    """Checks assertions, each good once: on every instance, for what was used is kept in the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def check(self, domain: Domain, client: Client, assertion: str, url: str) -> None:
        """Raise InvalidClient unless the client made this assertion for us, lately, and not twice. `url` is
        the endpoint that it came to."""
        try:
            claims = _verified(client, assertion)
            _check(claims, client, _audiences(domain, client, url), self._clock.now())
        except TokenError as error:
            raise _refused(error) from None
        # Last, so that nobody but the client can use its numbers up.
        fresh = await self._database.fetchval(
            "select troth.spend_assertion($1, $2, $3, $4)",
            domain.name,
            client.id,
            hashlib.sha256(claims.jti.encode()).digest(),
            datetime.fromtimestamp(claims.exp, UTC) + LEEWAY,
            idempotent=False,
        )
        if not fresh:
            raise InvalidClient("the assertion was used before", detail="assertion replayed")


def _verified(client: Client, assertion: str) -> _Claims:
    algorithm = client.token_endpoint_auth_signing_alg
    if algorithm is None:
        refuse("algorithm", "none is registered")
    payload = ClientKeys(client.jwks, algorithm).verify(assertion, TYPES)
    try:
        return msgspec.convert(payload, _Claims, strict=True)
    except ValueError as error:
        raise TokenError("malformed", str(error)[:200]) from None


def _audiences(domain: Domain, client: Client, url: str) -> tuple[str, ...]:
    endpoint = f"{domain.issuer}/oauth/token"
    allowed = client.allow_token_endpoint_audience and url == endpoint
    return (domain.issuer, endpoint) if allowed else (domain.issuer,)


def _check(claims: _Claims, client: Client, audiences: tuple[str, ...], now: datetime) -> None:
    # 1. The client speaks of itself.
    if claims.iss != client.id or claims.sub != client.id:
        refuse("issuer", f"{claims.iss} about {claims.sub}")
    # 2. It was made for us and for nobody besides: a second reader could use it here.
    aud = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    if len(aud) != 1 or aud[0] not in audiences:
        refuse("audience", str(claims.aud))
    # 3. Now lies inside its life, and that is short.
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    check_time(claims.exp, max(claims.iat or 0, claims.nbf or 0), at, leeway)
    if claims.exp > at + LONGEST.total_seconds() + leeway:
        refuse("expired", "lives too long")


def _refused(error: TokenError) -> InvalidClient:
    return InvalidClient("the assertion is not valid", detail=f"assertion {error.code}: {error.detail}")
