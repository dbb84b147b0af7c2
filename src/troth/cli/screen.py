"""What every verb prints with: the two consoles, marks, and errors for people."""

from rich.console import Console
from rich.text import Text

from troth.core.errors import ConfigError, TrothError
from troth.core.promise import promise

out = Console(highlight=False)
"""Results."""

err = Console(stderr=True, highlight=False)
"""Everything else."""

MARKS: dict[str, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("…", "cyan"),
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "stopping": ("…", "cyan"),
    "stopped": ("✓", "green"),
}
"""Condition of a step → glyph and colour."""


def printable(written: bytes) -> str:
    """Lines of a log. What controls a terminal must not reach it (escape sequence injection)."""
    text = written.decode(errors="replace")
    return "".join(letter if letter.isprintable() or letter in "\t\n" else "�" for letter in text)


def say_error(error: TrothError) -> None:
    """What went wrong, where, and what to do; never a traceback."""
    if isinstance(error, ConfigError):
        for fault in (error, *error.others):
            _say_fault(fault)
        return
    err.print(Text.assemble(("✗ ", "red"), error.public), soft_wrap=True)
    _say_hint(getattr(error, "hint", ""))


def _say_fault(fault: ConfigError) -> None:
    if fault.place:
        err.print(Text(fault.place, style="bold"), soft_wrap=True)
    err.print(Text.assemble(("✗ ", "red"), fault.public), soft_wrap=True)
    if fault.promise:
        err.print(Text(f"  This would break {fault.promise}: “{_sentence(fault.promise)}”"), soft_wrap=True)
    _say_hint(fault.hint)


def _say_hint(hint: str) -> None:
    if hint:
        err.print(Text.assemble(("→ ", "cyan"), hint), soft_wrap=True)


def _sentence(identifier: str) -> str:
    try:
        return promise(identifier).sentence
    except KeyError:
        return identifier
