"""What is done before the members of a set that crashed start again: no torn log may lead."""

import asyncio
import logging

from troth.data.consensus import Consensus, release_leadership
from troth.data.replicas import SCOPE, Member, ReplicaSet
from troth.data.torn import LogEnd, crashed_as_leader, find_torn, read_log_end
from troth.wiring.places import clear_set_aside, set_aside

_log = logging.getLogger(__name__)


async def set_torn_aside(replicas: ReplicaSet, consensus: Consensus) -> tuple[str, ...]:
    """Take the lead and the data from a leader whose log lost its end (`data.torn` says how that is known);
    it copies the database from the next leader. Call this while no member runs. Returns its name, if there
    is one. Raises PlatformError when the consensus store does not answer."""
    torn = find_torn(await asyncio.to_thread(_read, replicas))
    for name in torn:
        _log.error("the log of %s ends before that of a standby: its disk lost writes in the crash", name)
        await release_leadership(consensus, replicas.consensus_client, scope=SCOPE, member=name)
        await asyncio.to_thread(set_aside, replicas.member(name).folder)
    return torn


async def forget_torn(replicas: ReplicaSet) -> None:
    """Call this once the set takes writes."""
    for member in replicas.members:
        await asyncio.to_thread(clear_set_aside, member.folder)


def _read(replicas: ReplicaSet) -> dict[str, LogEnd]:
    """Where the logs end, if a leader crashed; else nothing is looked at."""
    present = [one for one in replicas.members if (one.data / "PG_VERSION").exists()]
    if not any(crashed_as_leader(replicas.binaries, one.data) for one in present):
        return {}

    def read(member: Member) -> LogEnd | None:
        return read_log_end(replicas.binaries, member.data)

    return {one.name: end for one in present if (end := read(one)) is not None}
