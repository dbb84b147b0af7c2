"""What a round of shipping is worth: whole segments say by themselves how far the receiver has come."""

from pathlib import Path

import pytest

from troth.core.secret import Secret
from troth.data.backups.shipping import Shipper
from troth.data.backups.spool import Spool, Waiting
from troth.data.backups.vault import Vault
from troth.data.backups.wal import SEGMENT_BYTES, Segment
from troth.data.stores.folder import FolderStore


@pytest.fixture
async def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    return spool


@pytest.fixture
async def shipper(tmp_path: Path, spool: Spool) -> Shipper:
    return Shipper(spool, Vault(await FolderStore.open(tmp_path / "store"), Secret(b"k" * 32)))


def receive(spool: Spool, number: int, size: int = SEGMENT_BYTES) -> Segment:
    segment = Segment(1, number)
    with (spool.folder / segment.name).open("wb") as file:
        file.truncate(size)
    return segment


async def test_the_end_of_the_last_whole_segment_counts_as_shipped(spool: Spool, shipper: Shipper) -> None:
    assert (await shipper.round()).end == 0
    receive(spool, 7)
    last = receive(spool, 8)
    assert (await shipper.round()).end == last.end


async def test_what_a_former_receiver_left_says_nothing_of_the_present_one(
    spool: Spool, shipper: Shipper
) -> None:
    receive(spool, 7)
    spool.prepare()
    shipped = await shipper.round()
    assert (shipped.segments, shipped.end) == (1, 0)


async def test_nothing_behind_a_segment_that_is_received_again_counts(spool: Spool, shipper: Shipper) -> None:
    before = receive(spool, 7)
    receive(spool, 8, size=100)
    receive(spool, 9)
    assert (await shipper.round()).end == before.end


class Renaming(Spool):
    """A receiver that completes its segment between the look at the folder and the look at the file."""

    def waiting(self) -> Waiting:
        waiting = super().waiting()
        for path in waiting.growing:
            path.rename(path.with_suffix(""))
        return waiting


async def test_a_segment_that_became_whole_under_the_round_does_not_count_until_it_is_sent(
    tmp_path: Path,
) -> None:
    spool = Renaming(tmp_path / "spool")
    spool.prepare()
    store = await FolderStore.open(tmp_path / "store")
    shipper = Shipper(spool, Vault(store, Secret(b"k" * 32)))
    segment = Segment(1, 7)
    (spool.folder / f"{segment.name}.partial").write_bytes(b"a" * SEGMENT_BYTES)
    received = segment.start + 100
    first = await shipper.round()
    assert await store.list() == ()
    assert (first.missed, first.reach(received)) == (True, 0)
    second = await shipper.round()
    assert [entry.name for entry in await store.list()] != []
    assert (second.missed, second.reach(received)) == (False, segment.end)
