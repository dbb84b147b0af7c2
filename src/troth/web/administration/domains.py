"""`/api/v1/admin/domains`: where the tenant is found."""

from typing import Annotated, Any

import msgspec

from troth.access.administered_domains import DomainView
from troth.access.ownership import Challenge
from troth.access.tenants import Branding
from troth.core.clock import to_wire
from troth.core.errors import NotFound
from troth.web.administration.desk import (
    Desk,
    answer,
    listing,
    page_of,
    read_body,
    read_text_cursor,
    write_text_cursor,
)
from troth.web.api import Answer
from troth.web.call import Call


class DomainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The domain to ask for, in any spelling. It looks like the one that it is asked for on."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class DomainsDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._domains = desk.domains

    async def list(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        after, limit = call.page()
        found = await self._domains.list(
            by, after=read_text_cursor(after) if after else None, limit=limit + 1
        )
        domains, more = page_of(found, limit)
        return listing(map(_tell, domains), write_text_cursor(domains[-1].name) if more else None)

    async def read(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        return answer(_tell(await self._domains.read(by, _name(call))))

    async def add(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        body = await read_body(call, DomainBody)
        branding: Branding = (await self._desk.directory.find(by.domain)).branding
        challenge = await self._domains.add(by, body.name, branding)
        told = {"name": challenge.domain, "state": "pending", "record": _record(challenge)}
        return answer(told, status=201)

    async def check(self, call: Call) -> Answer:
        """204: it serves, within a second."""
        by = await self._desk.administrator(call)
        await self._domains.check(by, _name(call))
        return Answer(204)

    async def remove(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        await self._domains.remove(by, _name(call))
        return Answer(204)


def _name(call: Call) -> str:
    name = call.path["domain"]
    if len(name) > 253 or not name.isascii() or not name.isprintable():
        raise NotFound("There is no such domain.")
    return name


def _record(challenge: Challenge) -> dict[str, str]:
    """What to publish."""
    return {"name": challenge.name, "type": "TXT", "value": challenge.value}


def _tell(domain: DomainView) -> dict[str, Any]:
    challenge = domain.challenge
    return {
        "name": domain.name,
        "app": domain.app,
        "state": domain.state,
        "of": "operator" if domain.declared else "tenant",
        "brand": domain.brand,
        "record": _record(challenge) if challenge else None,
        "created_at": to_wire(domain.created_at),
        "proved_at": to_wire(domain.proved_at) if domain.proved_at else None,
    }
