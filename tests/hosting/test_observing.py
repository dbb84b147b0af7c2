"""What the edge and the instances tell becomes one look at a service."""

from pathlib import Path

import msgspec

from troth.core.process import Endpoint
from troth.hosting import observing
from troth.hosting.observing import Counted, observe
from troth.hosting.pulse import Pulse

ONE, TWO = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
CALM = Pulse(pid=7, at=10.0, lag=0.0, beats=1, served=100, failed=0, raised=0, in_flight=0)


def told(**changed: object) -> Pulse:
    return msgspec.structs.replace(CALM, **changed)


def test_what_waits_is_what_the_edge_counts_without_streams() -> None:
    pulses = {ONE: told(in_flight=9, waiting=4, standing=5), TWO: told(in_flight=1, waiting=1)}
    seen, _ = observe(pulses, {str(ONE): 12, str(TWO): 1}, {}, now=1.0, instances=2, room=3)
    assert (seen.in_flight, seen.instances, seen.room) == (7 + 1, 2, 3)


def test_an_edge_that_does_not_tell_leaves_the_word_of_the_instances() -> None:
    seen, _ = observe({ONE: told(in_flight=9, waiting=4, standing=5)}, {}, {}, now=1.0, instances=1, room=0)
    assert seen.in_flight == 4


def test_an_instance_that_never_told_anything_is_seen_by_the_edge() -> None:
    seen, counts = observe({ONE: None}, {str(ONE): 3}, {}, now=1.0, instances=1, room=0)
    assert (seen.in_flight, seen.rate, counts) == (3, 0.0, {})


def test_rates_come_from_two_looks_at_the_same_process() -> None:
    before = {ONE: Counted(7, 9.0, 40, 2), TWO: Counted(6, 9.0, 1000, 50)}
    pulses = {ONE: told(refused=5), TWO: told(refused=3)}
    seen, counts = observe(pulses, {}, before, now=1.0, instances=2, room=0)
    assert seen.rate == 60.0, "the second began anew: what it counts now is no difference"
    assert seen.refused == 3
    again, _ = observe(pulses, {}, counts, now=1.5, instances=2, room=0)
    assert (again.rate, again.refused) == (0.0, 0), "no beat in between"


def test_the_limit_of_a_group_bounds_the_room(tmp_path: Path) -> None:
    assert observing.free_in_groups(tmp_path) == ()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert observing.free_in_groups(tmp_path) == ()
    (tmp_path / "memory.max").write_text("5000\n")
    assert observing.free_in_groups(tmp_path) == (4000,)
