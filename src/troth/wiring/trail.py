"""What the keeper itself notes in the audit trail, as the schema's owner."""

import logging
from collections.abc import Callable, Iterable

import msgspec
from uuid_utils.compat import uuid7

from troth.core.db import Database, DatabaseTarget
from troth.core.errors import Unavailable
from troth.data.roles import OWNER

_log = logging.getLogger(__name__)


async def note(target: Callable[[str], DatabaseTarget], event: str, details: Iterable[object]) -> None:
    """One row for each detail; `troth status` counts alarms. Without a leader the log has to do."""
    try:
        owner = await Database.open(target(OWNER), max_size=1)
    except Unavailable as error:
        _log.error("the alarm %s could not be written: %s", event, error.public)
        return
    try:
        for one in details:
            await owner.execute(
                "insert into troth.audit_event (id, event, detail) values ($1, $2, $3)"
                " on conflict do nothing",
                uuid7(),
                event,
                msgspec.json.encode(one).decode(),
                idempotent=True,
            )
    finally:
        await owner.close()
