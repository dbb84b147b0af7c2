"""Whether an external database lets the platform take backups: its slot, and the replication protocol."""

from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.core.state import State
from troth.data.backups.slot import make_slot
from troth.data.backups.tool import Access, ToolFailed, find_out_whether_it_replicates
from troth.data.roles import REPLICATOR
from troth.hosting import isolation, processes
from troth.wiring.backup_bounds import Members


class Guard:
    """Marks a tool as one of this platform's processes and has it die with the keeper."""

    def __init__(self, state: State) -> None:
        self._mark = processes.mark(state.root, "backup", 0)

    def __call__(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        return ("env", f"{processes.MARK}={self._mark}", *isolation.guard(argv))


def access_of(database: Members) -> Access:
    """How PostgreSQL's tools get at the members."""
    replicas = database.replicas
    return Access(
        binaries=replicas.binaries, authority=replicas.server_authority, replicator=replicas.replicator
    )


async def check_replication(database: Members, state: State) -> None:
    """Make the slot of the log and speak the replication protocol to the leader. Raises PlatformError saying
    what keeps backups from being taken."""
    replicator = await Database.open(database.target(REPLICATOR), max_size=1)
    try:
        await make_slot(replicator)
    finally:
        await replicator.close()
    members = [one.postgres for one in database.replicas.members]
    try:
        await find_out_whether_it_replicates(access_of(database), members, Guard(state))
    except ToolFailed as error:
        raise PlatformError(
            f"The external database lets nobody take backups from here: {error.public}",
            hint=f"pg_hba.conf of each member needs: hostssl replication {REPLICATOR} PLATFORM/32 cert; and "
            "max_wal_senders must leave room for three.",
            detail=error.detail,
        ) from None
