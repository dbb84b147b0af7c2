"""How many instances there are, by simulation: load comes and goes, and the number follows."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from troth.hosting.scaling import Decision, Look, Observation, Past, Policy, decide

LOOK = 0.5
POLICY = Policy(least=2, most=8)


class Simulation:
    """A service whose instances each carry so many requests a second, looked at twice a second.

    What an instance cannot carry waits and is under way all the longer; a new instance serves after
    `start_seconds`. `load` says how many requests come a second at an instant.
    """

    def __init__(self, load: Callable[[float], float], policy: Policy = POLICY, *, room: int = 100) -> None:
        self.load, self.policy, self.room = load, policy, room
        self.per_second, self.start_seconds = 200.0, 2.0
        self.now, self.waiting = 0.0, 0.0
        self.past = Past()
        self.serving = self.wanted = policy.least
        self.coming: list[float] = []
        self.counts: list[tuple[float, int]] = []

    def run(self, seconds: float) -> "Simulation":
        for _ in range(int(seconds / LOOK)):
            self._step()
        return self

    def _step(self) -> None:
        self.now += LOOK
        self.serving += sum(1 for at in self.coming if at <= self.now)
        self.coming = [at for at in self.coming if at > self.now]
        come = self.load(self.now) * LOOK
        carried = min(self.waiting + come, self.serving * self.per_second * LOOK)
        self.waiting += come - carried
        in_flight = round(self.waiting + carried / LOOK * 0.02)
        slow = 0.02 + self.waiting / (self.serving * self.per_second)
        seen = Observation(
            at=self.now,
            instances=self.wanted,
            in_flight=in_flight,
            rate=carried / LOOK,
            slow=slow,
            room=self.room,
        )
        decision, self.past = decide(seen, self.policy, self.past)
        self._follow(decision)

    def _follow(self, decision: Decision) -> None:
        if decision.wanted > self.wanted:
            self.coming += [self.now + self.start_seconds] * (decision.wanted - self.wanted)
        elif decision.wanted < self.wanted:
            self.serving -= self.wanted - decision.wanted
        if decision.wanted != self.wanted:
            self.counts.append((self.now, decision.wanted))
        self.wanted = decision.wanted

    @property
    def numbers(self) -> list[int]:
        return [count for _, count in self.counts]


def spike(before: float, during: float, *, begins: float, ends: float) -> Callable[[float], float]:
    return lambda now: during if begins <= now < ends else before


def test_a_quiet_service_stays_at_the_least() -> None:
    assert Simulation(lambda _: 50.0).run(600).counts == []


def test_a_spike_is_followed_within_a_second_and_a_half_and_is_carried() -> None:
    served = Simulation(spike(50, 1200, begins=10, ends=60)).run(60)
    assert served.counts[0][0] - 10 <= 1.5
    assert served.wanted >= 6
    assert served.waiting == 0, "in the end nobody waits"


def test_after_a_spike_the_number_goes_down_slowly_one_by_one_to_the_least() -> None:
    served = Simulation(spike(50, 1200, begins=10, ends=40)).run(600)
    top = max(served.numbers)
    down = [(at, count) for at, count in served.counts if at > 40]
    assert [count for _, count in down] == list(range(top - 1, 1, -1))
    assert down[0][0] >= 40 + POLICY.calm * 0.9
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(down)]
    assert all(gap >= POLICY.down_rest for gap in gaps)


def test_load_that_swings_faster_than_the_calm_does_not_make_the_number_swing() -> None:
    served = Simulation(lambda now: 700.0 if int(now / 15) % 2 else 60.0).run(600)
    rises = [at for (_, before), (at, count) in pairwise(served.counts) if count > before]
    assert max(rises) < 60, "once enough have been found, the number does not rise again"


def test_load_that_swings_within_what_is_carried_changes_nothing() -> None:
    assert Simulation(lambda now: 250 + 150 * math.sin(now / 20)).run(900).counts == []


def test_the_number_never_leaves_its_bounds() -> None:
    served = Simulation(spike(0, 5_000, begins=5, ends=30)).run(900)
    assert max(served.numbers) == POLICY.most
    assert served.wanted == POLICY.least


def test_memory_bounds_growth_and_the_reason_says_so() -> None:
    assert Simulation(spike(0, 5000, begins=5, ends=30), room=0).run(60).counts == []
    crowded = Past((Look(0.0, 500, 0.0), Look(0.5, 500, 0.0)))
    decision, _ = decide(Observation(at=1.0, instances=2, in_flight=500, room=0), POLICY, crowded)
    assert decision.wanted == 2
    assert "memory" in decision.reason


def test_one_look_alone_is_no_spike() -> None:
    past = Past()
    for at, in_flight in ((0.5, 3), (1.0, 400), (1.5, 3), (2.0, 5)):
        decision, past = decide(Observation(at=at, instances=2, in_flight=in_flight), POLICY, past)
        assert decision == Decision(2)


def test_growth_is_at_most_to_twice_as_many_at_a_time() -> None:
    past = Past((Look(0.0, 5000, 0.0),))
    decision, _ = decide(Observation(at=0.5, instances=2, in_flight=5000), POLICY, past)
    assert decision.wanted == 4


@pytest.mark.parametrize("in_flight, wanted", [(20, 3), (2, 2)])
def test_slow_answers_ask_for_one_more_only_where_there_is_load(in_flight: int, wanted: int) -> None:
    past = Past((Look(0.0, in_flight, 0.0),))
    decision, _ = decide(Observation(at=0.5, instances=2, in_flight=in_flight, slow=3.0), POLICY, past)
    assert decision.wanted == wanted


def test_refused_requests_ask_for_one_more_and_then_for_a_rest() -> None:
    seen = Observation(at=1.0, instances=2, in_flight=8, refused=5)
    decision, past = decide(seen, POLICY, Past())
    assert decision.wanted == 3
    again, _ = decide(Observation(at=2.0, instances=3, in_flight=8, refused=5), POLICY, past)
    assert again.wanted == 3, "the one that comes must be given the time to help"


def test_a_change_of_the_bounds_is_followed_at_once() -> None:
    quiet = Observation(at=1.0, instances=2, in_flight=0)
    assert decide(quiet, Policy(least=5, most=5), Past())[0].wanted == 5
    assert decide(quiet, Policy(least=1, most=1), Past())[0].wanted == 1


def test_a_recorded_morning_is_followed_without_thrashing() -> None:
    """Requests a second of a portal's edge on a morning, a look at each minute, steep at nine."""
    minutes = [4, 5, 6, 9, 14, 22, 31, 45, 80, 160, 420, 700, 690, 650, 610, 480, 390, 310, 260, 220, 180, 90]
    served = Simulation(lambda now: float(minutes[min(int(now / 60), len(minutes) - 1)])).run(60 * 30)
    turns = sum(1 for a, b in pairwise(served.numbers) if b > a)
    assert served.wanted == POLICY.least
    assert served.waiting == 0
    assert len(served.counts) <= 2 * (max(served.numbers) - POLICY.least) + 2 * turns


@pytest.mark.parametrize("every", [0.25, 0.5, 0.52, 0.7, 1.1, 2.0])
def test_a_lull_is_seen_however_often_one_looks(every: float) -> None:
    policy, past, instances, at = Policy(least=2, most=4, calm=3.0, down_rest=1.0), Past(), 3, 0.0
    while instances == 3 and at < 10:
        decision, past = decide(Observation(at=at, instances=instances, in_flight=1, rate=10.0), policy, past)
        instances, at = decision.wanted, at + every
    assert instances == 2
    assert at > 3.0
