"""Telling people what happened to their account, by a message that they did not ask for.

Whoever holds a stolen password or session cannot change how an account is protected without its owner hearing
of it, at an address that only a proof of the password changes.
"""

from typing import Literal
from uuid import UUID

from uuid_utils.compat import uuid7

from troth.access.tenants import Domain
from troth.core.db import Database

Happened = Literal["factor_added", "factor_removed", "recovery_code_used", "new_device"]


class Notices:
    """Orders them. Where no messages are sent, none is ordered."""

    def __init__(self, database: Database, *, mail: bool) -> None:
        self._database = database
        self._mail = mail

    async def tell(self, domain: Domain, person: UUID, happened: Happened, *, language: str) -> None:
        """The outbox sends it in a moment."""
        if self._mail:
            await self._database.execute(
                "select troth.tell_person($1, $2, $3, $4, $5)",
                domain.name,
                person,
                happened,
                language,
                uuid7(),
                idempotent=True,
            )
