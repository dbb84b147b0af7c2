"""What failed or was refused, in the trail: once, even if another leader has to be asked again."""

from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.core.db import Database


async def record_failure(
    database: Database, event: str, domain: str, person: UUID | None, request: str, **detail: str | None
) -> None:
    """`detail` says what a person may read later; never a secret."""
    await database.execute(
        "select troth.record_failure($1, $2, $3, $4, $5, $6)",
        uuid7(),
        event,
        domain,
        person,
        request,
        msgspec.json.encode(detail).decode(),
        idempotent=True,
    )
