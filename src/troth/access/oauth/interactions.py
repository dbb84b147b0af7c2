"""A checked request on its way through the sign-in and consent pages.

It travels as a signed token, so that it cannot be altered and nothing is stored for strangers. A consent form
carries one bound to its session: another person's browser cannot be made to submit it.
"""

from datetime import timedelta

import msgspec

from troth.access.errors import InvalidRequest
from troth.access.oauth.authorize import AuthorizationRequest
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.jose import Claims, TokenError

PENDING = "troth-pending+jwt"
LIFETIME = timedelta(minutes=30)

_STALE = "this request is too old or was changed on the way; start again from the application"


class Interactions:
    """Packs and unpacks pending requests with the domain's key. The type keeps them from being tokens."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def pack(self, domain: Domain, request: AuthorizationRequest, *, session: str = "") -> str:
        """The request as text, good for half an hour; `session` binds it to one."""
        now = int(self._clock.now().timestamp())
        claims = Claims(
            iss=domain.issuer,
            aud=_audience(domain),
            sub=msgspec.json.encode(request).decode(),
            sid=session,
            iat=now,
            exp=now + int(LIFETIME.total_seconds()),
        )
        return (await self._keys.ring(domain)).signer.sign(claims, PENDING)

    async def unpack(self, domain: Domain, packed: str, *, session: str = "") -> AuthorizationRequest:
        """The request. Raises InvalidRequest when it is too old, was altered, or is another session's."""
        try:
            claims = await self._keys.verify(domain, packed, PENDING, _audience(domain))
        except TokenError as error:
            raise InvalidRequest(_STALE, detail=f"{error.code}: {error.detail}") from None
        if claims.sid != session:
            raise InvalidRequest(_STALE, detail="bound to another session")
        return msgspec.json.decode(claims.sub, type=AuthorizationRequest)


def _audience(domain: Domain) -> str:
    return f"{domain.issuer}/oauth/authorize"
