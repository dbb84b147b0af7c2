"""What the edge answered, added up by service."""

import pytest

from troth.hosting.watch.traffic import Traffic, quantile


def test_errors_of_the_last_minute_alone_count() -> None:
    traffic = Traffic()
    for tick in range(100):
        traffic.count("web", 500 if tick < 30 else 200, 0.02, tick)
    assert traffic.minute("web", 89).error_ratio == 0.0
    assert traffic.minute("web", 99).requests == 60
    traffic.count("web", 502, 0.02, 99)
    assert traffic.minute("web", 99).error_ratio == pytest.approx(1 / 61)
    assert traffic.answers["web", "5xx"] == 31


def test_quantiles_are_upper_bounds() -> None:
    traffic = Traffic()
    for number in range(100):
        traffic.count("web", 200, 1.0 if number == 0 else 0.01, 1)
    quantiles = traffic.minute("web", 1).quantiles
    assert 0.01 <= quantiles["0.5"] < 0.02
    assert quantiles["0.99"] < 0.02
    assert quantile([], 0.5) == 0.0
