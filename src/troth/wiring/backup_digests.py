"""What every table of the leader holds: taken with each backup, and again for a drill on request."""

import logging

from troth.core.errors import TrothError
from troth.core.leader import SecureContext, wait_for_leader
from troth.data.backups.digests import Connection, Digests, take_digests
from troth.data.roles import REPLICATOR
from troth.wiring.backup_bounds import Members

LEADER_SECONDS = 30.0

_log = logging.getLogger(__name__)


async def record(database: Members, backup: str) -> Digests:
    """The digests at a restore point that is named after the backup. Raises PlatformError."""

    async def connect() -> Connection:
        target = database.target(REPLICATOR)
        return await wait_for_leader(target, SecureContext.of(target), seconds=LEADER_SECONDS)

    return await take_digests(connect, f"troth-{backup}")


async def record_if_possible(database: Members, backup: str) -> Digests | None:
    """The same, and None where it cannot be had: a backup without digests is better than none, and its drill
    says what is missing."""
    try:
        return await record(database, backup)
    except TrothError as error:
        _log.warning("the tables of backup %s could not be digested: %s", backup, error.public)
        return None
