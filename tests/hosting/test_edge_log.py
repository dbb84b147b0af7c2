"""The edge's access log, followed and added up."""

import json
from pathlib import Path

import pytest

from troth.hosting import edge_log, log_file
from troth.hosting.edge_log import Answered, EdgeLog, Ledger
from troth.hosting.judging import Errors

HERE = "127.0.0.1:4001"


class Book:
    """A log that is written and followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "access.log"
        self.ledger = Ledger()
        self.log = EdgeLog(self.path, self.ledger)

    def write(self, *statuses: int, place: str = HERE, seconds: float = 0.01) -> None:
        lines = (
            json.dumps({"status": status, "duration": seconds, "upstream": place, "request": {}}) + "\n"
            for status in statuses
        )
        with self.path.open("a") as file:
            file.write("".join(lines))


@pytest.fixture
def book(tmp_path: Path) -> Book:
    book = Book(tmp_path)
    book.path.touch()
    book.log.follow(0.0)
    return book


def test_errors_are_counted_by_place_and_overload_is_none(book: Book) -> None:
    book.write(200, 404, 499, 500, 502, 503, 504)
    book.write(200, place="127.0.0.1:4002")
    assert book.log.follow(100.0) == 8
    assert book.ledger.recent(HERE, 101.0) == Errors(7, 3)
    assert book.ledger.recent("127.0.0.1:4002", 101.0) == Errors(1, 0)


def test_what_is_older_is_the_past_and_then_forgotten(book: Book) -> None:
    book.write(500, 200)
    book.log.follow(100.0)
    assert book.ledger.recent(HERE, 112.0) == Errors()
    assert book.ledger.before(HERE, 112.0) == Errors(2, 1)
    assert book.ledger.before(HERE, 112.0, since=105.0) == Errors()
    book.write(200)
    book.log.follow(100.0 + edge_log.REMEMBERED_SECONDS + 2)
    assert book.ledger.before(HERE, 400.0) == Errors(1, 0)


def test_how_slow_the_slowest_are(book: Book) -> None:
    assert book.ledger.slow(HERE, 100.0) is None
    book.write(*[200] * 90, seconds=0.004)
    book.write(*[200] * 10, seconds=0.8)
    book.log.follow(100.0)
    assert (book.ledger.slow(HERE, 100.0, 0.5), book.ledger.slow(HERE, 100.0)) == (0.005, 1.0)


def test_the_log_is_followed_through_the_rolling_of_the_edge(book: Book) -> None:
    book.write(500)
    book.path.rename(book.path.with_name("access-2026.log"))
    book.write(500, 500)
    assert book.log.follow(100.0) == 1
    assert book.log.follow(100.0) == 2


def test_half_a_line_waits_for_its_other_half(book: Book) -> None:
    line = json.dumps({"status": 500, "upstream": HERE})
    with book.path.open("a") as file:
        file.write(line[:20])
    assert book.log.follow(100.0) == 0
    with book.path.open("a") as file:
        file.write(line[20:] + "\n")
    assert book.log.follow(100.0) == 1


def test_what_reached_no_instance_and_what_is_no_log_counts_for_nobody(book: Book) -> None:
    book.write(503, place="")
    book.write(503, place="{http.reverse_proxy.upstream.hostport}")
    with book.path.open("a") as file:
        file.write("no json\n[]\n")
    assert book.log.follow(100.0) == 0


def test_whoever_listens_hears_of_every_answer_also_of_those_that_no_instance_gave(book: Book) -> None:
    heard: list[tuple[Answered, float]] = []
    book.log.heard.append(lambda answered, now: heard.append((answered, now)))
    book.write(200)
    book.write(403, place="")
    with book.path.open("a") as file:
        file.write('no json\n[]\n{"level":"info"}\n{"status":"x"}\n\n')
    book.log.follow(100.0)
    assert heard == [(Answered(200, 0.01, HERE), 100.0), (Answered(403, 0.01, ""), 100.0)]


def test_the_first_look_begins_at_the_end_for_the_past_was_anothers(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.write(500)
    assert book.log.follow(100.0) == 0
    book.write(500)
    assert book.log.follow(100.0) == 1


def test_who_is_far_behind_passes_over_the_oldest(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "BEHIND_BYTES", 2000)
    monkeypatch.setattr(log_file, "READ_BYTES", 1000)
    book.write(*[500] * 100)
    assert 0 < book.log.follow(100.0) < 20
    assert book.ledger.passed_over > 0


def test_places_without_end_are_not_remembered(book: Book) -> None:
    for number in range(edge_log.PLACES + 50):
        book.ledger.note(f"127.0.0.1:{number}", 500, 0.1, 100.0)
    assert book.ledger.recent(f"127.0.0.1:{edge_log.PLACES + 1}", 100.0) == Errors()
