"""Takes one backup in a process of its own, which a test kills where it likes.

`python -m support.taking_child` reads what to take from the first line of standard input, writes each step on
a line of standard output, and asks there for the log to be shipped, since its test is who ships.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from support.vaults import GUARD
from troth.core.ca import LeafFiles
from troth.core.clock import SystemClock
from troth.core.process import Endpoint
from troth.core.secret import Secret
from troth.data.backups.taking import Member, Progress, Source, Surroundings, take
from troth.data.backups.tool import Access
from troth.data.backups.vault import Vault
from troth.data.postgres import find_binaries
from troth.data.stores.opening import StoreSettings, open_store

BYTES_A_SECOND = 4_000_000
"""A step that can be seen before it is over."""


class Order(msgspec.Struct, frozen=True):
    """What to take, and where to put it."""

    store: str
    folder: str
    key: str
    member: str
    port: int
    system: str
    authority: str
    certificate: str
    private_key: str


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(order: Order) -> None:
    """One full backup."""
    store = await open_store(StoreSettings(url=order.store, bandwidth=BYTES_A_SECOND))
    access = Access(
        binaries=find_binaries(None),
        authority=Path(order.authority),
        replicator=LeafFiles(Path(order.certificate), Path(order.private_key)),
    )
    told: set[str] = set()

    def tell(progress: Progress) -> None:
        if progress.step not in told and (progress.done or progress.step != "the data"):
            told.add(progress.step)
            say(f"step {progress.step}")

    async def shipped(lsn: int) -> None:
        say(f"ship {lsn}")
        await asyncio.to_thread(sys.stdin.readline)

    async def nothing() -> str:
        return ""

    async def size() -> int:
        return 0

    async def no_digests(identifier: str) -> None:
        """There is no schema to digest."""

    source = Source(
        members=[Member(order.member, Endpoint("127.0.0.1", order.port))],
        access=access,
        guard=GUARD,
        system=order.system,
    )
    around = Surroundings(
        vault=Vault(store, Secret(bytes.fromhex(order.key))),
        folder=Path(order.folder),
        clock=SystemClock(),
        version="test",
        tell=tell,
        shipped=shipped,
        receipts=nothing,
        size=size,
        digests=no_digests,
    )
    say(f"done {(await take(None, source, around)).id}")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.readline(), type=Order)))
