"""A clock of its own for the PostgreSQL of each member, which a test can let jump (libfaketime).

Patroni keeps the machine's clock: libfaketime 0.9.10 makes Python's sleep fail, which waits for an instant of
the monotonic clock, unless it falsifies that too; then waits never end after a jump. A time namespace
(time_namespaces(7)) shifts the monotonic clock and the time since boot, but not the time of day.
"""

import shutil
from datetime import timedelta
from pathlib import Path

import msgspec

from support.replicas import Cluster
from troth.data.postgres import Binaries
from troth.data.replicas import Member, write_member

_LIBRARY = "faketime/libfaketimeMT.so.1"


def find_library() -> Path | None:
    """libfaketime, of the system or beside the faketime that `make faketime` unpacked; None without it."""
    program = shutil.which("faketime")
    trees = [Path("/usr/lib")]
    if program is not None:
        trees.append(Path(program).resolve().parents[1] / "debian" / "faketime" / "usr" / "lib")
    return next((found for tree in trees for found in tree.glob(f"*/{_LIBRARY}")), None)


def give_clocks(cluster: Cluster, library: Path) -> None:
    """From its next start on, each member's PostgreSQL reads its clock through a file."""
    for member in cluster.replicas.members:
        jump(member, timedelta())
        own = _programs(cluster.replicas.binaries, member, library)
        write_member(msgspec.structs.replace(cluster.replicas, binaries=own), member)


def jump(member: Member, by: timedelta) -> None:
    """Its clock differs by so much from the machine's, from one moment to the next."""
    ahead = _file(member).with_suffix(".new")
    ahead.write_text(f"{by.total_seconds():+.0f}\n")
    ahead.replace(_file(member))


def _file(member: Member) -> Path:
    return member.folder / "clock"


def _programs(binaries: Binaries, member: Member, library: Path) -> Binaries:
    """The same programs, `postgres` with the library before it."""
    folder = member.folder / "programs"
    folder.mkdir()
    for program in binaries.folder.iterdir():
        if program.name != "postgres":
            (folder / program.name).symlink_to(program)
    wrapper = folder / "postgres"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"export LD_PRELOAD='{library}' FAKETIME_TIMESTAMP_FILE='{_file(member)}'\n"
        "export FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n"
        f"exec '{binaries.program('postgres')}' \"$@\"\n"
    )
    wrapper.chmod(0o755)
    return msgspec.structs.replace(binaries, folder=folder)
