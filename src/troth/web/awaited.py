"""The authorization request that a sign-in is for."""

from typing import Protocol
from urllib.parse import parse_qs, urlencode, urlsplit

from troth.access.errors import OAuthError
from troth.access.oauth.authorize import AuthorizationRequest
from troth.access.oauth.interactions import Interactions
from troth.access.tenants import Domain

RESUME = "/oauth/authorize"

DECLINED = ("declined", "1")
"""What the query of `RESUME` says besides, when its person does not prove as much as was asked for."""


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


def declined_location(return_to: str) -> str:
    """Where the browser goes back to an authorization request without having proved what it asks for."""
    return f"{return_to}&{urlencode([DECLINED])}"
