"""What a round of shipping is worth: whole segments say by themselves how far the receiver has come."""

from pathlib import Path

import pytest

from troth.core.secret import Secret
from troth.data.backups.shipping import Shipper
from troth.data.backups.spool import Spool
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
