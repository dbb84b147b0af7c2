"""What an instance tells, and what nobody believes."""

import re
from pathlib import Path

from troth.hosting.health import NOT_HELD
from troth.hosting.pulse import SIZE, Pulse, PulseFile, Teller, pack, unpack

TOLD = Pulse(pid=7, at=12.5, lag=0.25, beats=3, served=9, failed=2, raised=1, in_flight=4)


def test_what_is_told_is_read() -> None:
    assert unpack(pack(TOLD)) == TOLD


def test_an_order_stands_in_the_file_and_survives_what_the_instance_tells(tmp_path: Path) -> None:
    file = tmp_path / "pulse"
    keeper = PulseFile(file)
    assert keeper.read() is None
    instance = Teller(file)
    assert re.match(NOT_HELD.encode(), file.read_bytes())
    keeper.order("hold")
    instance.tell(lag=0.0, served=1, failed=0, raised=0, in_flight=2)
    assert not re.match(NOT_HELD.encode(), file.read_bytes())
    told = keeper.read()
    assert told is not None and (told.beats, told.in_flight) == (1, 2)
    keeper.order("serve")
    assert re.match(NOT_HELD.encode(), file.read_bytes())
    instance.hold()
    assert not re.match(NOT_HELD.encode(), file.read_bytes())
    keeper.close()


def test_a_file_that_is_cut_short_or_overwritten_says_nothing(tmp_path: Path) -> None:
    keeper = PulseFile(tmp_path / "pulse")
    Teller(tmp_path / "pulse").tell(lag=0.0, served=1, failed=0, raised=0, in_flight=0)
    (tmp_path / "pulse").write_bytes(b"\xff" * SIZE)
    assert keeper.read() is None
    (tmp_path / "pulse").write_bytes(b"")
    assert keeper.read() is None
    keeper.close()


def test_times_that_are_no_times_say_nothing() -> None:
    assert (
        unpack(pack(Pulse(pid=7, at=float("nan"), lag=0, beats=1, served=0, failed=0, raised=0, in_flight=0)))
        is None
    )
    assert (
        unpack(
            pack(Pulse(pid=7, at=1.0, lag=float("inf"), beats=1, served=0, failed=0, raised=0, in_flight=0))
        )
        is None
    )
