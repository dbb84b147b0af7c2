"""The authorization request that a sign-in is for."""

from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from troth.access.errors import OAuthError
from troth.access.oauth.authorize import AuthorizationRequest
from troth.access.oauth.interactions import Interactions
from troth.access.tenants import Domain

RESUME = "/oauth/authorize"


class AwaitedServices(Protocol):
    """What this needs."""

    @property
    def interactions(self) -> Interactions: ...


async def awaited(services: AwaitedServices, domain: Domain, return_to: str) -> AuthorizationRequest | None:
    """The request that `return_to` goes on with, if it is one. A page whose form leads there has to allow its
    redirect URI as a target."""
    target = urlsplit(return_to)
    packed = parse_qs(target.query).get("resume", [""])[0]
    if target.path != RESUME or not packed:
        return None
    try:
        return await services.interactions.unpack(domain, packed)
    except OAuthError:
        return None
