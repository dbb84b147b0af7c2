"""`/api/v1/me`, and `/api/v1/admin/…` for a tenant's administrators."""

from starlette.routing import Route

from troth.web.administration.clients import ClientsDesk
from troth.web.administration.desk import AdministrationServices, Desk
from troth.web.administration.domains import DomainsDesk
from troth.web.administration.me import Me
from troth.web.administration.roles import RolesDesk
from troth.web.administration.sessions import SessionsDesk
from troth.web.administration.settings import SettingsDesk
from troth.web.administration.trail import TrailDesk
from troth.web.administration.users import UsersDesk
from troth.web.api import Endpoint, Handler

BASE = "/api/v1/admin"


def routes(services: AdministrationServices) -> list[Route]:
    """To stand before the data API's, which takes any name under /api/v1."""
    desk = Desk(services)
    me = Me(services)
    users, roles = UsersDesk(desk), RolesDesk(desk)
    sessions, trail = SessionsDesk(desk), TrailDesk(desk)
    clients, domains, settings = ClientsDesk(desk), DomainsDesk(desk), SettingsDesk(desk)

    def at(path: str, handlers: dict[str, Handler]) -> Route:
        return Route(f"{BASE}{path}", Endpoint(handlers, services.denials))

    return [
        Route("/api/v1/me", Endpoint({"GET": me.read}, services.denials)),
        at("/users", {"GET": users.list, "POST": users.invite}),
        at("/users/{id}", {"GET": users.read, "PATCH": users.patch}),
        at("/users/{id}/sign-out", {"POST": users.sign_out}),
        at("/users/{id}/reset-factors", {"POST": users.reset_factors}),
        at("/users/{id}/reset-password", {"POST": users.reset_password}),
        at("/roles", {"GET": roles.list}),
        at("/roles/{name}", {"PUT": roles.put, "DELETE": roles.remove}),
        at("/sessions", {"GET": sessions.list}),
        at("/sessions/{id}", {"DELETE": sessions.end}),
        at("/clients", {"GET": clients.list, "POST": clients.add}),
        at(
            "/clients/{client}",
            {"GET": clients.read, "PATCH": clients.patch, "DELETE": clients.remove},
        ),
        at("/clients/{client}/secret", {"POST": clients.rotate}),
        at("/client-invitations", {"POST": clients.invite}),
        at("/domains", {"GET": domains.list, "POST": domains.add}),
        at("/domains/{domain}", {"GET": domains.read, "DELETE": domains.remove}),
        at("/domains/{domain}/check", {"POST": domains.check}),
        at("/settings", {"GET": settings.read, "PUT": settings.put}),
        at("/events", {"GET": trail.list}),
    ]
