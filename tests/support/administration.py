"""An administrator of a house, and the routes of administration for them to call."""

import secrets
from copy import copy
from typing import Any
from uuid import UUID

import httpx
import msgspec
from starlette.applications import Starlette

from support.access import House, password_hash
from support.browser import WebAccess
from troth.access.accounts.people import Profile
from troth.access.administered_domains import AdministeredDomains
from troth.access.administration import Administration
from troth.access.explain import Denials
from troth.access.tokens import Bearer
from troth.core.scope import admin_scopes
from troth.web import administration

EVERYTHING = admin_scopes()


class AdministeredAccess(WebAccess):
    """Access with what the routes of administration need besides."""

    @property
    def denials(self) -> Denials:
        return Denials(self.directory, self.sessions, self.clients)


class Official(msgspec.Struct, frozen=True):
    """Somebody of a house with a role of their own, signed in just now."""

    house: House
    id: UUID
    session: UUID
    app: Starlette

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        scopes: tuple[str, ...] = EVERYTHING,
        **headers: str,
    ) -> httpx.Response:
        """Call the API with a token of these scopes."""
        access, domain = self.house.access, self.house.domain
        bearer = Bearer(session=self.session, person=self.id, client="session", scopes=scopes)
        token = await access.tokens.mint(domain, bearer)
        sent = {
            "host": f"{domain.name}:8443",
            "authorization": f"Bearer {token.token}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            sent.setdefault("content-type", "application/json")
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://unset") as client:
            return await client.request(method, path, content=content, headers=sent)

    def with_domains(self, domains: AdministeredDomains) -> "Official":
        """The same person at an instance with this service in its place."""
        return self._at(administered_domains=domains)

    def with_people(self, people: Administration) -> "Official":
        """The same person at an instance with this service in its place."""
        return self._at(administration=people)

    def _at(self, **services: object) -> "Official":
        access = copy(self.house.access)
        for name, service in services.items():
            setattr(access, name, service)
        app = Starlette(routes=administration.routes(access))  # type: ignore[arg-type]
        return Official(self.house, self.id, self.session, app)

    async def age(self, interval: str) -> None:
        """As if they had signed in so long ago."""
        await change(
            self.house,
            "update troth.session set authenticated_at = now() - $2::text::interval where id = $1",
            self.session,
            interval,
        )


async def official(house: House, *scopes: str) -> Official:
    """One more person of the house, in a role with these scopes."""
    name = f"role-{secrets.token_hex(4)}"
    await change(
        house,
        "insert into troth.role (tenant_id, name, scopes) values (troth.context_tenant(), $1, $2)",
        name,
        list(scopes),
    )
    access = house.access
    profile = Profile(f"{secrets.token_hex(6)}@example.org", "Somebody")
    person = await access.registrar.add(house.tenant.id, profile, (name,), await password_hash(access))
    begun = await access.sessions.begin(house.domain, person)
    app = Starlette(routes=administration.routes(access))  # type: ignore[arg-type]
    return Official(house, person, begun.session.id, app)


async def change(house: House, statement: str, *arguments: Any) -> None:
    """As the operator, in the context of the house."""
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(statement, *arguments)
