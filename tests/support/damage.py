"""What a disk, a power cut or a careless hand does to the folder of a member that does not run."""

import os
from collections.abc import Sequence
from pathlib import Path

from support.replicas import Cluster
from support.waiting import until
from troth.data.postgres import Binaries
from troth.data.replicas import Member
from troth.data.torn import read_log_end
from troth.hosting.motion import working_in

_SEGMENT = 2**24


async def kill(cluster: Cluster, member: Member) -> None:
    """Everything of it dies, and nothing of it works in its folder any more."""
    cluster.kill_member(member)
    await until(lambda: not working_in(member.data), 30.0)


def cut_copy_short(member: Member) -> None:
    """As a copy that was killed leaves it: the control file comes last."""
    (member.data / "global" / "pg_control").unlink()


def spoil_control_file(member: Member) -> None:
    (member.data / "global" / "pg_control").write_bytes(os.urandom(8192))


def spoil_catalogues(member: Member) -> None:
    """Every table of every database is rubbish."""
    for file in (member.data / "base").glob("*/*"):
        file.write_bytes(os.urandom(file.stat().st_size))


def spoil_pages(file: Path, first: int, count: int) -> None:
    """Flip bits in some pages of a table, as a disk does that nobody has noticed."""
    with file.open("r+b") as table:
        for page in range(first, first + count):
            table.seek(page * 8192 + 4000)
            table.write(os.urandom(16))
        os.fsync(table.fileno())


def tear(binaries: Binaries, data: Path, lost: int, standbys: Sequence[Path] = ()) -> None:
    """The end of the log never reached the disk: so many bytes before the last record, and all after them.

    With `standbys` the last record is one that a standby has, so that a write that counted is lost here.
    """
    end = read_log_end(binaries, data)
    assert end is not None
    known = [found.last for one in standbys if (found := read_log_end(binaries, one)) is not None]
    at = min(end.last, max(known, default=end.last)) - lost
    high, low = divmod(at, 2**32)
    file = data / "pg_wal" / f"{end.timeline:08X}{high:08X}{low // _SEGMENT:08X}"
    with file.open("r+b") as segment:
        segment.seek(at % _SEGMENT)
        segment.write(bytes(_SEGMENT - at % _SEGMENT))
