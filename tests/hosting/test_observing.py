"""What the edge and the instances tell becomes one look at a service."""

from pathlib import Path

import msgspec

from troth.core.process import Endpoint
from troth.hosting import observing
from troth.hosting.observing import FRESH_SECONDS, Counted, is_at_rest, observe
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


def test_the_edge_need_not_be_asked_while_every_instance_tells_that_it_rests() -> None:
    before = {ONE: Counted(7, 9.5, 100, 0), TWO: Counted(7, 9.5, 100, 0)}
    assert is_at_rest({ONE: CALM, TWO: CALM}, before, 10.1)
    restless = (
        None,
        told(in_flight=1),
        told(served=101),
        told(refused=1),
        told(lag=FRESH_SECONDS),
        told(at=10.1 - FRESH_SECONDS),
        told(pid=8),
    )
    for pulse in restless:
        assert not is_at_rest({ONE: CALM, TWO: pulse}, before, 10.1)
    assert not is_at_rest({ONE: CALM, TWO: CALM}, {ONE: before[ONE]}, 10.1)
