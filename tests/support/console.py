"""Runs the examples of a Markdown page as its reader would: one shell, from the first block to the last.

A block marked `console run` holds commands after `$ ` (further lines after `> `, or after a backslash) and
below each what it prints, with `…` for anything. Nothing below a command: what it prints does not matter.
Each has to end with status 0. A block marked `python run` is handed to Python in the same environment.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

_FENCE = re.compile(r"^```(\S*)[ ]?(.*)$")
_MARK = "\x1e"
"""Stands between the outputs of two commands; no program prints an ASCII record separator."""


class Command(msgspec.Struct, frozen=True):
    """One example: where it stands, what is typed, and what should come."""

    line: int
    text: str
    expected: str


class Outcome(msgspec.Struct, frozen=True):
    """What came."""

    command: Command
    status: int
    output: str

    @property
    def fault(self) -> str:
        """Empty when it is as the page says."""
        where = f"line {self.command.line}: {self.command.text}"
        if self.status:
            return f"{where}\nended with {self.status}:\n{self.output}"
        if self.command.expected and not _matches(self.command.expected, self.output):
            return f"{where}\nshould print:\n{self.command.expected}\nprinted:\n{self.output}"
        return ""


def blocks(text: str) -> Iterator[tuple[int, str, str, list[str]]]:
    """Every fenced block: line of its first content, language, mark, lines."""
    begun: tuple[int, str, str] | None = None
    inside: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence and begun is None:
            begun, inside = (number + 1, fence[1], fence[2].strip()), []
        elif fence and begun is not None:
            yield (*begun, inside)
            begun = None
        else:
            inside.append(line)


def commands(page: Path) -> list[Command]:
    """The examples of a page that are marked to be run."""
    found: list[Command] = []
    for line, language, mark, inside in blocks(page.read_text()):
        if mark != "run":
            continue
        if language == "python":
            body = "\n".join(inside)
            found.append(Command(line, f"{sys.executable} - <<'PYTHON'\n{body}\nPYTHON", ""))
        else:
            found += _read_console(line, inside)
    return found


def _read_console(first: int, lines: list[str]) -> Iterator[Command]:
    at, typed, printed = first, "", ""
    for number, line in enumerate(lines, start=first):
        if line.startswith("$ "):
            if typed:
                yield Command(at, typed, printed.strip())
            at, typed, printed = number, line[2:], ""
        elif line.startswith("> "):
            typed += f"\n{line[2:]}"
        elif typed.endswith("\\") and not printed:
            typed += f"\n{line}"
        else:
            printed += f"{line}\n"
    if typed:
        yield Command(at, typed, printed.strip())


def run(page: Path, *, environment: dict[str, str], folder: Path, seconds: float) -> list[Outcome]:
    """Run a page's examples; raises TimeoutExpired when they take longer."""
    todo = commands(page)
    script = "".join(f"{one.text}\nprintf '{_MARK}%d{_MARK}' $?\n" for one in todo)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=environment,
        cwd=folder,
    )
    parts = done.stdout.split(_MARK)
    assert len(parts) == 2 * len(todo) + 1, f"the shell ended early:\n{done.stdout[-2000:]}"
    return [
        Outcome(one, int(parts[2 * number + 1]), parts[2 * number].strip()) for number, one in enumerate(todo)
    ]


def _matches(expected: str, output: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, "\n".join(map(str.rstrip, output.splitlines())), re.DOTALL) is not None
