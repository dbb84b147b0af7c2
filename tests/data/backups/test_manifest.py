"""What stands in the store as a backup, and what does not."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from troth.data.backups.manifest import (
    Backup,
    BadManifest,
    Piece,
    StoredFile,
    arrange,
    data_name,
    decode_manifest,
    encode_manifest,
    id_in,
    manifest_name,
    new_id,
)
from troth.data.backups.wal import SEGMENT_BYTES, Segment, read_lsn, segments_between, show_lsn

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def backup(hours: float, parent: Backup | None = None) -> Backup:
    at = NOON + timedelta(hours=hours)
    identifier = new_id(at, b"\1\2\3\4")
    return Backup(
        id=identifier,
        kind="incremental" if parent else "full",
        parent=parent.id if parent else None,
        system="7421",
        timeline=1,
        start_lsn=0x2000028,
        stop_lsn=0x2000100,
        began=at,
        ended=at + timedelta(minutes=1),
        member="member-2",
        postgres="17.6",
        troth="0.0.0",
        files=(StoredFile(name=data_name(identifier), size=10, sha256="00", plain=30),),
    )


def test_a_manifest_comes_back_as_it_was_written() -> None:
    written = backup(0)
    assert decode_manifest(encode_manifest(written), written.id) == written
    assert (written.size, written.plain) == (10, 30)


def test_the_manifest_of_another_backup_is_refused() -> None:
    with pytest.raises(BadManifest, match="says that it is of"):
        decode_manifest(encode_manifest(backup(0)), backup(1).id)


@pytest.mark.parametrize(
    "changed", [{"format": 2}, {"parent": "x"}, {"kind": "incremental"}], ids=["format", "parent", "kind"]
)
def test_a_manifest_that_does_not_fit_is_refused(changed: dict[str, object]) -> None:
    written = msgspec.structs.replace(backup(0), **changed)
    with pytest.raises(BadManifest):
        decode_manifest(encode_manifest(written), written.id)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", b'{"id": 1}'])
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(BadManifest):
        decode_manifest(body, "x")


def test_objects_without_a_manifest_are_leftovers_and_no_backup() -> None:
    whole, cut = backup(0), backup(1)
    catalogue = arrange([whole], [data_name(whole.id), manifest_name(whole.id), data_name(cut.id), "base/x"])
    assert catalogue.backups == (whole,)
    assert catalogue.leftovers == (cut.id,)


def test_an_increment_is_restorable_as_long_as_all_that_it_builds_on_is_there() -> None:
    full = backup(0)
    first = backup(1, full)
    second = backup(2, first)
    catalogue = arrange([second, full, first], [])
    assert catalogue.chain(second) == (full, first, second)
    broken = arrange([second, full], [])
    assert broken.chain(second) is None
    assert broken.restorable == (full,)


def test_the_best_backup_for_a_moment_had_ended_by_then() -> None:
    full, later = backup(0), backup(5)
    catalogue = arrange([full, later], [])
    assert catalogue.best(NOON + timedelta(hours=1)) == full
    assert catalogue.best(later.began) == full
    assert catalogue.best(later.ended) == later
    assert catalogue.best(NOON) is None


def test_identifiers_sort_by_time_and_are_found_in_names() -> None:
    assert new_id(NOON, b"\xff" * 4) < new_id(NOON + timedelta(seconds=1), b"\0" * 4)
    assert id_in(data_name(backup(0).id)) == backup(0).id
    assert id_in("base/../data") is None
    assert id_in("wal/x/y") is None


def test_a_piece_of_a_segment_is_read_from_its_name() -> None:
    piece = Piece(Segment(2, 7), 8200, 0)
    assert piece.name == "wal/000000020000000000000007.partial/00000000-00002008"
    assert Piece.read(piece.name) == piece
    for bad in (piece.name + "0", piece.name.replace("00002008", "00000000"), "wal/000000020000000000000007"):
        assert Piece.read(bad) is None


def test_positions_and_segments_are_written_as_postgresql_writes_them() -> None:
    assert read_lsn("16/B374D848") == 0x16B374D848
    assert show_lsn(0x16B374D848) == "16/B374D848"
    assert Segment.at(1, read_lsn("16/B374D848")).name == "0000000100000016000000B3"
    assert Segment.read("0000000100000016000000B3") == Segment.at(1, read_lsn("16/B374D848"))
    assert Segment.read("000000010000001600000100") is None
    with pytest.raises(ValueError, match="no position"):
        read_lsn("16")


def test_a_span_needs_every_segment_that_it_touches() -> None:
    assert [one.number for one in segments_between(1, SEGMENT_BYTES - 1, SEGMENT_BYTES)] == [0]
    assert [one.number for one in segments_between(1, SEGMENT_BYTES - 1, SEGMENT_BYTES + 1)] == [0, 1]
    assert [one.number for one in segments_between(1, SEGMENT_BYTES, SEGMENT_BYTES)] == [1]
