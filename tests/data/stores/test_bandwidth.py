"""The token bucket: over any stretch of time no more than its rate, and a second's worth at once."""

from hypothesis import given
from hypothesis import strategies as st

from troth.data.stores.bandwidth import Bucket, Throttle, take
from troth.data.stores.waiting import Patience, wait_before

RATE = 1000


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 3)), min_size=1, max_size=40))
def test_the_rate_holds_however_large_the_pieces_are(steps: list[tuple[int, float]]) -> None:
    bucket, now, sent = Bucket(RATE, RATE, 0.0), 0.0, 0
    for count, pause in steps:
        now += pause
        bucket, seconds = take(bucket, count, now)
        now += seconds
        sent += count
        assert sent <= RATE * (now + 1) + 0.01


def test_an_idle_bucket_holds_one_second() -> None:
    bucket, seconds = take(Bucket(RATE, RATE, 0.0), RATE, 1_000_000.0)
    assert seconds == 0
    assert take(bucket, RATE, 1_000_000.0)[1] == 1.0


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket, _ = take(Bucket(RATE, RATE, 100.0), RATE, 100.0)
    assert take(bucket, 500, 50.0)[1] == 0.5


async def test_no_limit_lets_everything_pass_at_once() -> None:
    await Throttle(0).passing(1 << 60)


def test_waits_double_and_are_bounded() -> None:
    patience = Patience(first=0.25, longest=8.0)
    assert [wait_before(patience, failures, 0.0) for failures in (1, 2, 3, 9)] == [0.25, 0.5, 1.0, 8.0]
    assert wait_before(patience, 1, 0.99) > 0.12
