"""A member whose disk becomes full: the lead goes to one that has room, and nothing acknowledged is lost."""

import subprocess
from pathlib import Path

import pytest

from support.full_disk import Report, in_a_namespace
from support.rounds import in_many_rounds, tell

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900), in_many_rounds]


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    """Where a member may have a disk of its own; skips where the machine forbids that."""
    done = subprocess.run(
        ("unshare", "--mount", "--user", "--map-root-user", "true"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"this machine allows no mount namespaces: {done.stderr.strip()}")
    return tmp_path


def show(capsys: pytest.CaptureFixture[str], name: str, report: Report) -> None:
    tell(
        capsys,
        f"{name}: {report.pause:.1f} s without a write, {report.acknowledged} acknowledged, "
        f"{report.lost} lost, whole {report.whole:.0f} s after there was room; "
        f"{[one.cause for one in report.failovers]}; {report.remarks}; {report.mended}",
    )


def test_a_leader_whose_disk_is_full_to_the_last_byte_is_replaced_and_returns_when_there_is_room(
    disks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = in_a_namespace(disks, "leader", 0)
    show(capsys, "disk of the leader full", report)
    assert report.acknowledged
    assert report.lost == 0
    assert report.failovers[0].old == report.member
    assert report.pause < 60
    assert "MB left on the disk of" in report.remarks[report.member]


def test_a_leader_with_little_room_left_hands_its_lead_over_before_it_has_to_stop(
    disks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = in_a_namespace(disks, "leader", 48 << 20)
    show(capsys, "disk of the leader nearly full", report)
    assert report.acknowledged
    assert report.lost == 0
    assert "as good as full" in report.failovers[0].cause


def test_a_standby_with_a_full_disk_delays_no_write(disks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = in_a_namespace(disks, "standby", 0)
    show(capsys, "disk of a standby full", report)
    assert report.acknowledged
    assert report.lost == 0
    assert report.failovers == ()
    assert report.pause < 30
    assert "MB left on the disk of" in report.remarks[report.member]
