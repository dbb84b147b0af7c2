"""Asking for a message: one row, whether anybody has the address or not.

Who has the address is looked up by whoever sends it (`outbox.py`), outside any request, so that neither the
answer nor its time tells a visitor.
"""

from typing import Literal
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.accounts.limits import Limits
from troth.access.errors import TooManyTries
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.db import Database

MAIL = "mail"
"""Purpose under which it is sealed to whom a message goes."""

Asked = Literal["reset", "registration", "verification", "email_change"]


class Wanted(msgspec.Struct, frozen=True):
    """To whom a message was asked for, as it was typed."""

    email: str
    name: str = ""


class Letters:
    """Orders messages."""

    def __init__(self, database: Database, sealer: Sealer, limits: Limits) -> None:
        self._database = database
        self._sealer = sealer
        self._limits = limits

    async def order(
        self,
        domain: Domain,
        kind: Asked,
        wanted: Wanted,
        *,
        language: str,
        person: UUID | None = None,
        address: str = "",
        request: str = "",
    ) -> None:
        """Ask for a message. Raises TooManyTries when this network asks too often; what is asked too often
        for one address is dropped without a word."""
        order = uuid7()
        payload = msgspec.json.encode(wanted)
        wait = await self._database.fetchval(
            "select troth.order_mail($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            domain.name,
            order,
            kind,
            language,
            person,
            await self._sealer.seal(domain.tenant_id, MAIL, payload, order.bytes),
            await self._limits.account(domain, wanted.email),
            await self._limits.network(domain, address),
            request,
            idempotent=False,
        )
        if wait:
            raise TooManyTries("Too many messages were asked for from this network.", retry_after=wait)
