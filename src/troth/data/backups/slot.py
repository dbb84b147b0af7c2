"""The replication slot that keeps the log for the backups: made on the leader where it is missing.

Patroni keeps it on each member of its sets where it is told to. Elsewhere a new leader has none, and what was
written before one is made on it may be gone.
"""

import asyncpg

from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.data.backups.tool import SLOT
from troth.data.backups.wal import read_lsn
from troth.data.roles import REPLICATOR

_MAKE = "select lsn::text from pg_create_physical_replication_slot($1, true)"


async def make_slot(replicator: Database) -> int | None:
    """Make it; the position from which on the leader keeps the log, None when it was there already.

    Raises PlatformError saying why the leader makes none.
    """
    try:
        return read_lsn(await replicator.fetchval(_MAKE, SLOT, idempotent=False))
    except asyncpg.DuplicateObjectError:
        return None
    except asyncpg.InsufficientPrivilegeError as error:
        raise PlatformError(
            f"The leader lets {REPLICATOR} make no replication slot.",
            hint=f"As superuser there: alter role {REPLICATOR} replication;",
            detail=str(error),
        ) from None
    except asyncpg.ConfigurationLimitExceededError as error:
        raise PlatformError(
            "All replication slots of the leader are in use.",
            hint="Raise max_replication_slots there, or drop a slot that nobody needs.",
            detail=str(error),
        ) from None
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise PlatformError(
            "The leader has no replication slots.",
            hint="Set wal_level = replica and max_replication_slots there, and start it again.",
            detail=str(error),
        ) from None
