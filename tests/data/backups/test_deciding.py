"""What is decided about backups without looking at a store: when, what stays, what the names say."""

import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from troth.core.settings import BackupSettings
from troth.data.backups.manifest import Backup, Catalogue, arrange, data_name, new_id
from troth.data.backups.retention import judge, old_leftovers, old_log
from troth.data.backups.schedule import History, due, overdue, wait_after
from troth.data.backups.shipping import Coverage, Look, Seam
from troth.data.backups.spool import Spool, extent, page_before
from troth.data.backups.tar import BadTar, TarWatch
from troth.data.backups.wal import PAGE_BYTES, SEGMENT_BYTES, Segment
from troth.data.stores.store import Entry

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
POLICY = BackupSettings(keep_daily=7, keep_weekly=4, keep_monthly=12)


def backup(at: datetime, parent: Backup | None = None, start: int = 0) -> Backup:
    return Backup(
        id=new_id(at, b"\0\0\0\1"),
        kind="incremental" if parent else "full",
        parent=parent.id if parent else None,
        system="1",
        timeline=1,
        start_lsn=start,
        stop_lsn=start + 1,
        began=at,
        ended=at,
        member="member-1",
        postgres="17.6",
        troth="0",
        files=(),
    )


def history(*backups: Backup, **more: object) -> History:
    return History(catalogue=arrange(backups, []), **more)  # type: ignore[arg-type]


# --- when -------------------------------------------------------------------------------------------------


def test_the_first_backup_is_full_and_due_at_once() -> None:
    assert due(NOON, history(), POLICY) == "full"


def test_increments_come_between_full_ones() -> None:
    full = backup(NOON)
    assert due(NOON + 59 * MINUTE, history(full), POLICY) is None
    assert due(NOON + HOUR, history(full), POLICY) == "incremental"
    increment = backup(NOON + HOUR, full)
    assert due(NOON + HOUR + MINUTE, history(full, increment), POLICY) is None
    assert due(NOON + DAY, history(full, increment), POLICY) == "full"


def test_without_increments_there_are_full_ones_alone() -> None:
    policy = BackupSettings(incremental_minutes=0, every_hours=2)
    assert due(NOON + HOUR, history(backup(NOON)), policy) is None
    assert due(NOON + 2 * HOUR, history(backup(NOON)), policy) == "full"


def test_what_was_lost_is_made_up_for_by_a_full_one() -> None:
    full = backup(NOON)
    orphan = backup(NOON + MINUTE, backup(NOON - DAY))
    assert due(NOON + MINUTE, history(full, lost=True), POLICY) == "full"
    assert due(NOON + MINUTE, history(orphan), POLICY) == "full"


def test_a_torn_log_is_made_up_for_at_once() -> None:
    assert due(NOON + MINUTE, history(backup(NOON), gap=True), POLICY) == "incremental"


def test_after_failures_the_wait_doubles_up_to_an_hour() -> None:
    failed = history(failures=2, failed=NOON)
    assert due(NOON + timedelta(seconds=59), failed, POLICY) is None
    assert due(NOON + MINUTE, failed, POLICY) == "full"
    assert wait_after(1) == timedelta(seconds=30)
    assert wait_after(1000) == HOUR


def test_a_backup_is_overdue_after_twice_the_time_between_two() -> None:
    full = arrange([backup(NOON)], [])
    up = NOON - DAY
    assert overdue(NOON + 2 * HOUR, up, full, POLICY) is None
    assert overdue(NOON + 2 * HOUR + 11 * MINUTE, up, full, POLICY) == MINUTE
    assert overdue(NOON + 9 * MINUTE, NOON, Catalogue(), POLICY) is None
    assert overdue(NOON + 11 * MINUTE, NOON, Catalogue(), POLICY) == MINUTE
    assert overdue(NOON + 7 * DAY + MINUTE, NOON + 7 * DAY, full, POLICY) is None  # it was down for a week


# --- what stays -------------------------------------------------------------------------------------------


def test_the_last_of_each_day_week_and_month_stays() -> None:
    days = [backup(NOON - n * DAY) for n in range(800)]
    verdict = judge(arrange(days, []), POLICY, NOON)
    kept = {NOON - n * DAY for n in range(800) if days[n].id in verdict.keep}
    assert {NOON - n * DAY for n in range(7)} <= kept
    assert 7 + 3 + 11 <= len(kept) + 2 <= 7 + 4 + 12 + 2
    assert len({(one.year, one.month) for one in kept}) >= 12
    assert set(verdict.keep) | set(verdict.drop) == {one.id for one in days}


def test_nothing_is_dropped_that_a_kept_increment_builds_on() -> None:
    full = backup(NOON - 40 * DAY)
    chain = [full]
    for n in range(39, -1, -1):
        chain.append(backup(NOON - n * DAY, chain[-1]))
    verdict = judge(arrange(chain, []), BackupSettings(keep_daily=1, keep_weekly=0, keep_monthly=0), NOON)
    assert verdict.drop == ()


def test_what_nothing_needs_goes_increments_first() -> None:
    old = backup(NOON - 40 * DAY)
    old_increment = backup(NOON - 40 * DAY + HOUR, old)
    new = backup(NOON)
    policy = BackupSettings(keep_daily=1, keep_weekly=0, keep_monthly=0)
    verdict = judge(arrange([old, old_increment, new], []), policy, NOON)
    assert verdict == type(verdict)((new.id,), (old_increment.id, old.id))


def test_a_backup_that_the_store_has_locked_is_not_dropped() -> None:
    old, new = backup(NOON - 3 * DAY), backup(NOON)
    policy = BackupSettings(keep_daily=1, keep_weekly=0, keep_monthly=0, lock_days=4)
    assert judge(arrange([old, new], []), policy, NOON).drop == ()


def test_a_backup_that_cannot_be_restored_keeps_nobodys_place() -> None:
    whole = backup(NOON - DAY)
    orphan = backup(NOON, backup(NOON - 9 * DAY))
    policy = BackupSettings(keep_daily=1, keep_weekly=0, keep_monthly=0)
    assert judge(arrange([whole, orphan], []), policy, NOON).keep == (whole.id,)


def test_leftovers_go_after_a_day_and_never_before() -> None:
    begun = new_id(NOON, b"\0\0\0\2")
    catalogue = arrange([], [data_name(begun)])

    def entry(age: timedelta) -> Entry:
        return Entry(data_name(begun), 1, (NOON - age).timestamp())

    assert old_leftovers([entry(25 * HOUR)], catalogue, NOON) == (data_name(begun),)
    assert old_leftovers([entry(23 * HOUR)], catalogue, NOON) == ()


def test_the_log_stays_from_where_the_oldest_kept_backup_begins() -> None:
    names = [f"wal/{Segment(1, n).name}" for n in range(6)]
    names += [f"wal/{Segment(1, 5).name}.partial/00000000-00002000", "wal/00000002.history"]
    names += [f"wal/{Segment(1, 6).name}.partial/00000000-00002000"]
    kept = [backup(NOON, start=3 * SEGMENT_BYTES + 40), backup(NOON, start=5 * SEGMENT_BYTES)]
    assert old_log(names, kept) == (*names[:3], names[6])
    assert old_log(names, []) == (names[6],)


# --- how much of the log there is -------------------------------------------------------------------------


def look(seconds: float, flushed: int, received: int | None) -> Look:
    return Look(NOON + timedelta(seconds=seconds), flushed, received)


def test_a_write_counts_as_recoverable_once_the_log_up_to_it_was_shipped() -> None:
    coverage = Coverage()
    coverage.note(look(0, 100, 90))
    coverage.ship(90)
    assert coverage.until is None
    coverage.note(look(1, 120, 100))
    coverage.ship(100)
    assert coverage.until == NOON
    coverage.ship(120)
    assert coverage.until == NOON + timedelta(seconds=1)


def test_a_receiver_that_hangs_makes_the_newest_recoverable_write_older() -> None:
    coverage = Coverage()
    for second in range(700):
        coverage.note(look(second, 100 + second, 100))
        coverage.ship(100)
    assert coverage.until == NOON


def test_behind_a_tear_nothing_counts_as_recoverable_until_a_backup_was_begun_after_it() -> None:
    coverage = Coverage()
    coverage.note(look(0, 100, 100))
    coverage.ship(100)
    coverage.tear()
    coverage.note(look(1, 300, 300))
    coverage.ship(300)
    assert (coverage.until, coverage.shipped, coverage.is_torn) == (NOON, 300, True)
    begun = coverage.tears
    coverage.tear()  # once more, while the backup is being taken
    coverage.mend(begun)
    assert coverage.is_torn
    coverage.mend(coverage.tears)
    coverage.note(look(2, 400, 400))
    coverage.ship(400)
    assert (coverage.until, coverage.is_torn) == (NOON + timedelta(seconds=2), False)


# --- the receiver's files ---------------------------------------------------------------------------------


def segment_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content.ljust(SEGMENT_BYTES, b"\0"))
    return path


@pytest.mark.parametrize("used", [0, 24, PAGE_BYTES, PAGE_BYTES + 32, 100 * PAGE_BYTES, SEGMENT_BYTES])
def test_what_was_received_of_a_segment_is_found(tmp_path: Path, used: int) -> None:
    assert extent(segment_file(tmp_path / "a", b"\1" * used)) == used


def test_what_ends_in_zeros_is_found_a_little_short_and_never_too_long(tmp_path: Path) -> None:
    assert (
        extent(segment_file(tmp_path / "a", b"\1" * PAGE_BYTES + b"\1" * 41 + b"\0" * 100)) == PAGE_BYTES + 48
    )
    assert page_before(PAGE_BYTES + 48) == PAGE_BYTES
    assert page_before(PAGE_BYTES) == 0
    assert page_before(0) == 0


def test_what_a_receiver_left_is_set_aside_and_the_longer_of_two_stays(tmp_path: Path) -> None:
    spool, name = Spool(tmp_path), Segment(1, 1).name
    spool.prepare()
    segment_file(spool.folder / f"{name}.partial", b"\1" * 64)
    (spool.folder / "00000002.history").write_text("1\t0/2000000\tx\n")
    (spool.folder / "archive_status.tmp").write_text("")
    spool.prepare()
    segment_file(spool.folder / f"{name}.partial", b"\1" * 32)
    spool.prepare()
    waiting = spool.waiting()
    assert not list(spool.folder.iterdir())
    assert [path.name for path in waiting.histories] == ["00000002.history"]
    assert [extent(path) for path in waiting.growing] == [64]
    assert not spool.is_growing(waiting.growing[0])


def test_a_gap_is_seen_where_the_log_goes_on_behind_its_end() -> None:
    seam = Seam()
    assert not seam.go_on(900, connected=True), "nothing has ended yet"
    assert not seam.is_open
    seam.end(100)
    assert seam.is_open
    assert not seam.go_on(80, connected=False)
    assert not seam.go_on(None, connected=True)
    assert not seam.go_on(96, connected=True)
    assert not seam.is_open
    assert not seam.go_on(500, connected=False), "a receiver that is connected goes on by itself"
    seam.end(300)
    assert seam.go_on(400, connected=False)
    assert not seam.go_on(400, connected=False), "told once"
    assert seam.go_on(600, connected=False), "the slot was lost again"
    assert not seam.go_on(592, connected=True)
    seam.end(700)
    assert seam.go_on(704, connected=True), "the slot was made anew between two looks"


def test_how_far_the_log_that_waits_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.prepare()
    assert (spool.begin(), spool.end()) == (None, 0)
    segment_file(spool.folder / f"{Segment(1, 4).name}.partial", b"\1" * 64)
    assert spool.end() == Segment(1, 4).start + 64
    segment_file(spool.folder / Segment(1, 4).name, b"\1" * 64)
    assert spool.end() == Segment(1, 4).end, "its rest is zeros, but the leader has closed it"
    segment_file(spool.folder / f"{Segment(2, 5).name}.partial", b"\1" * 64)
    assert spool.begin() == Segment(1, 4).start
    spool.prepare()
    assert (spool.begin(), spool.end()) == (None, Segment(2, 5).start + 64)


# --- the tar ----------------------------------------------------------------------------------------------


def a_tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("step", [1, 511, 512, 513, 100_000])
def test_one_member_is_cut_out_of_a_tar_however_it_arrives(step: int) -> None:
    tar, out = a_tar(first=b"x" * 700, wanted=b"y" * 1025, last=b""), io.BytesIO()
    watch = TarWatch("wanted", out)
    for start in range(0, len(tar), step):
        watch.feed(tar[start : start + step])
    assert (out.getvalue(), watch.found, watch.complete) == (b"y" * 1025, True, True)


def test_a_tar_that_was_cut_off_is_not_complete() -> None:
    tar, out = a_tar(wanted=b"y" * 1025), io.BytesIO()
    watch = TarWatch("wanted", out)
    watch.feed(tar[:1600])
    assert not watch.complete


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(BadTar):
        TarWatch("wanted", io.BytesIO()).feed(b"no tar at all " * 100)
