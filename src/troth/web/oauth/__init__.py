"""`/oauth/*` and the metadata of an issuer: the HTTP side of the authorization server."""

from starlette.routing import Route

from troth.web.oauth.back import BackChannel
from troth.web.oauth.device import DevicePages
from troth.web.oauth.front import FrontChannel
from troth.web.oauth.logout import LogoutEndpoint
from troth.web.oauth.open import open_route
from troth.web.oauth.register import RegistrationEndpoint
from troth.web.oauth.services import OAuthServices
from troth.web.pages import page


def routes(services: OAuthServices) -> list[Route]:
    """The authorization server's routes."""
    front, back, logout = FrontChannel(services), BackChannel(services), LogoutEndpoint(services)
    device = DevicePages(services)
    registration = RegistrationEndpoint(services)
    return [
        Route("/oauth/authorize", page(services, front.authorize), methods=["GET"]),
        Route("/oauth/authorize", page(services, front.as_get), methods=["POST"]),
        Route("/oauth/consent", page(services, front.consent), methods=["POST"]),
        Route("/oauth/logout", page(services, logout.ask), methods=["GET"]),
        Route("/oauth/logout", page(services, logout.as_get), methods=["POST"]),
        Route("/oauth/logout/confirm", page(services, logout.confirm), methods=["POST"]),
        open_route(services, "/oauth/token", back.token, "POST"),
        open_route(services, "/oauth/register", registration.register, "POST"),
        open_route(services, "/oauth/register/{client}", registration.manage, "GET", "PUT", "DELETE"),
        open_route(services, "/oauth/par", back.push, "POST"),
        open_route(services, "/oauth/revoke", back.revoke, "POST"),
        open_route(services, "/oauth/device", back.device, "POST"),
        Route("/device", page(services, device.show), methods=["GET"]),
        Route("/device", page(services, device.look), methods=["POST"]),
        Route("/device/decision", page(services, device.decide), methods=["POST"]),
        open_route(services, "/oauth/introspect", back.introspect, "POST"),
        open_route(services, "/oauth/userinfo", back.userinfo, "GET", "POST"),
        open_route(services, "/oauth/jwks", back.jwks, "GET"),
        open_route(services, "/.well-known/openid-configuration", back.describe, "GET"),
        open_route(services, "/.well-known/oauth-authorization-server", back.describe, "GET"),
    ]
