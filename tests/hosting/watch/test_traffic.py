"""What the edge answered, from a log that is written and rolled meanwhile."""

from pathlib import Path

import pytest

from troth.hosting.watch.traffic import Answered, LogTail, Traffic, quantile, read_line


def line(status: int, upstream: str = "127.0.0.1:1", duration: float = 0.01) -> bytes:
    return b'{"level":"info","status":%d,"duration":%f,"upstream":"%s"}' % (
        status,
        duration,
        upstream.encode(),
    )


def test_lines_are_read_and_what_is_none_is_passed_over() -> None:
    assert read_line(line(503)) == Answered("127.0.0.1:1", 503, 0.01)
    for broken in (b"", b"{", b'{"status":"x"}', b'{"level":"info"}', b"\xff"):
        assert read_line(broken) is None


def test_errors_of_the_last_minute_alone_count() -> None:
    traffic = Traffic()
    for tick in range(100):
        traffic.count("web", Answered("a", 500 if tick < 30 else 200, 0.02), tick)
    assert traffic.minute("web", 89).error_ratio == 0.0
    assert traffic.minute("web", 99).requests == 60
    traffic.count("web", Answered("a", 502, 0.02), 99)
    assert traffic.minute("web", 99).error_ratio == pytest.approx(1 / 61)
    assert traffic.answers["web", "5xx"] == 31


def test_quantiles_are_upper_bounds() -> None:
    traffic = Traffic()
    for number in range(100):
        traffic.count("web", Answered("a", 200, 1.0 if number == 0 else 0.01), 1)
    quantiles = traffic.minute("web", 1).quantiles
    assert 0.01 <= quantiles["0.5"] < 0.02
    assert quantiles["0.99"] < 0.02
    assert quantile([], 0.5) == 0.0


def test_a_log_is_followed_over_its_rolling_and_its_past_is_anothers(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    tail = LogTail(log)
    assert tail.read() == []
    log.write_bytes(b"old\n")
    tail = LogTail(log)
    assert tail.read() == []
    with log.open("ab") as file:
        file.write(b"one\ntw")
    assert tail.read() == [b"one"]
    with log.open("ab") as file:
        file.write(b"o\n")
    log.rename(tmp_path / "access-1.log")
    log.write_bytes(b"three\n")
    assert tail.read() == [b"two", b"three"]
    log.rename(tmp_path / "access-2.log")
    assert tail.read() == []
    log.write_bytes(b"four\n")
    assert tail.read() == [b"four"]
    tail.close()
