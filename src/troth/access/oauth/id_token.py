"""ID tokens: who signed in, for the client that asked (OpenID Connect Core section 2)."""

from datetime import datetime, timedelta
from uuid import UUID

from troth.access.sessions import acr_of
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.jose import Claims

ID_TOKEN = "JWT"  # noqa: S105 - a media type; it differs from an access token's, so neither passes for the other
LIFETIME = timedelta(minutes=5)


class IdTokens:
    """Mints ID tokens. Names and addresses are not in them: a client asks userinfo."""

    def __init__(self, keys: SigningKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def mint(
        self,
        domain: Domain,
        client: str,
        *,
        person: UUID,
        session: UUID,
        nonce: str,
        authenticated_at: datetime,
        amr: tuple[str, ...] = (),
    ) -> str:
        """An ID token for one client."""
        now = int(self._clock.now().timestamp())
        claims = Claims(
            iss=domain.issuer,
            aud=client,
            sub=str(person),
            sid=str(session),
            nonce=nonce,
            auth_time=int(authenticated_at.timestamp()),
            acr=acr_of(amr),
            amr=amr,
            iat=now,
            exp=now + int(LIFETIME.total_seconds()),
        )
        return (await self._keys.ring(domain)).signer.sign(claims, ID_TOKEN)
