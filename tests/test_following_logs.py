"""`troth logs -f`: what is written while it looks, and what becomes of the file meanwhile."""

from pathlib import Path

import pytest

from troth.cli.logs import PIECE, Log
from troth.cli.screen import printable


def shown(log: Log, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that came, without the name before them."""
    while log.show_new():
        pass
    return [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]


def test_whole_lines_are_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "web-1.log"
    path.write_text("before\n")
    log = Log(path, 0)
    with path.open("a") as file:
        file.write("one\ntw")
    assert shown(log, capsys) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert shown(log, capsys) == ["two"]


def test_a_line_that_does_not_end_is_shown_in_pieces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "web-1.log"
    path.write_text("")
    log = Log(path, 0)
    path.write_bytes(b"x" * 3 * PIECE)
    assert sum(map(len, shown(log, capsys))) == 3 * PIECE


def test_a_log_that_is_cut_or_away_for_a_moment_is_followed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "web-1.log"
    path.write_text("a long line of before\n")
    log = Log(path, 0)
    path.unlink()
    assert shown(log, capsys) == []
    path.write_text("new\n")
    assert shown(log, capsys) == ["new"]


def test_what_controls_a_terminal_is_not_printed() -> None:
    assert printable(b"one\n\x1b]0;two\x07\tthree\r\xff") == "one\n�]0;two�\tthree��"
