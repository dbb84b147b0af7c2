"""Authorization requests that a client signed (JAR, RFC 9101): what stands in the token counts, and nothing
beside it.

A person's browser carries an authorization request; whoever alters it on the way asks for something else in
the client's name. A signed one cannot be altered.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from troth.access.errors import InvalidRequestObject
from troth.access.oauth.clients import Client
from troth.access.tenants import Domain
from troth.core.jose_clients import ClientKeys
from troth.core.jose_parts import TokenError, check_time, refuse

Pairs = list[tuple[str, str]]

REQUEST_OBJECT = "oauth-authz-req+jwt"
LONGEST = timedelta(minutes=10)
LEEWAY = timedelta(seconds=30)

_ABOUT_THE_TOKEN = frozenset({"iss", "aud", "exp", "iat", "nbf", "jti"})


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str | tuple[str, ...]
    exp: int
    client_id: str
    iat: int | None = None
    nbf: int | None = None


def read_request_object(domain: Domain, client: Client, token: str, now: datetime) -> Pairs:
    """The parameters that the client signed. Raises InvalidRequestObject."""
    try:
        return _read(domain, client, token, now)
    except TokenError as error:
        raise InvalidRequestObject(
            "the request object is not valid", detail=f"{error.code}: {error.detail}"
        ) from None


def _read(domain: Domain, client: Client, token: str, now: datetime) -> Pairs:
    # 1. The client signed it, with the algorithm that it was registered with, as a request and nothing else.
    algorithm = client.request_object_signing_alg or client.token_endpoint_auth_signing_alg
    if algorithm is None or not client.jwks:
        refuse("algorithm", "no key of the client is registered for this")
    payload = ClientKeys(client.jwks, algorithm).verify(token, (REQUEST_OBJECT,))
    claims = _claims(payload)
    # 2. It is this client's own, and for us alone.
    if claims.iss != client.id or claims.client_id != client.id:
        refuse("issuer", f"{claims.iss} for {claims.client_id}")
    if claims.aud not in (domain.issuer, (domain.issuer,)):
        refuse("audience", str(claims.aud))
    # 3. Now lies inside its life, and that is short.
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    check_time(claims.exp, max(claims.iat or 0, claims.nbf or 0), at, leeway)
    if claims.exp > at + LONGEST.total_seconds() + leeway:
        refuse("expired", "lives too long")
    # 4. It leads to no other request (RFC 9101 section 4), and is no assertion in disguise (section 10.8).
    if payload.keys() & {"request", "request_uri", "sub"}:
        refuse("malformed", "request, request_uri or sub inside")
    return [(name, _text(value)) for name, value in payload.items() if name not in _ABOUT_THE_TOKEN]


def _claims(payload: Mapping[str, object]) -> _Claims:
    try:
        return msgspec.convert(payload, _Claims, strict=True)
    except ValueError as error:
        raise TokenError("malformed", str(error)[:200]) from None


def _text(value: object) -> str:
    """A parameter as it would stand in a query: numbers in decimal, structures as JSON (RFC 9396, 3)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | list | dict):
        refuse("malformed", "a parameter is neither text, number nor structure")
    return msgspec.json.encode(value).decode()
