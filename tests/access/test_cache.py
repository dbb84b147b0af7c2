"""A cache that cannot grow and does not remember too long."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.cache import BoundedCache

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def test_an_entry_is_good_until_its_time() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1, LATER)
    assert cache.get("a", LATER - timedelta(microseconds=1)) == 1
    assert cache.get("a", LATER) is None
    assert len(cache) == 0


def test_what_was_not_used_longest_goes_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1, LATER)
    cache.put("b", 2, LATER)
    cache.get("a", NOW)
    cache.put("c", 3, LATER)
    assert (cache.get("a", NOW), cache.get("b", NOW), cache.get("c", NOW)) == (1, None, 3)


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_it_never_holds_more_and_never_tells_something_else(
    capacity: int, steps: list[tuple[bool, int]]
) -> None:
    cache: BoundedCache[int, int] = BoundedCache(capacity)
    for put, key in steps:
        if put:
            cache.put(key, key * 2, LATER)
        assert cache.get(key, NOW) in (None, key * 2)
        assert len(cache) <= capacity


def test_a_cache_for_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        BoundedCache[str, int](0)
