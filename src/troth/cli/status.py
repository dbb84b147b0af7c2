"""`troth status`: the keeper's answer, for programs as it is and for people as tables."""

import json as json_module
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from rich.table import Table
from rich.text import Text

from troth.cli.screen import err, out
from troth.core.state import State
from troth.hosting import control, processes
from troth.hosting.lock import is_held

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

HIDDEN = frozenset({"addresses", "steps", "duties", "processes", "troubles"})
"""Parts of the answer that have a place of their own, or are for programs alone."""

_SEEN = ("name", "balanced", "busy", "stopped", "recent", "memory", "descriptors", "ended")
"""What a person wants to know of an instance's health; the rest is for programs."""

_INSTANCE = ("service", "name", "phase", "endpoint", "since", "pid", "restarts")
"""The same of an instance itself; all of it would not fit into 80 columns."""

_COLUMNS = {"health, seen": _SEEN, "instances": _INSTANCE}

_COLOURS = {
    **dict.fromkeys(("ready", "running", "streaming", "leader"), "green"),
    **dict.fromkeys(("suspect", "waiting", "draining", "starting"), "yellow"),
    **dict.fromkeys(("failed", "stopped"), "red"),
}


def show_status(folder: Path, *, json: bool) -> int:
    """Returns the exit status: 0 only while the platform is up and ready."""
    state = State(folder.resolve())
    try:
        answer = with_numbers_from_here(control.ask(state.control, {"do": "status"}), state)
    except control.NotRunning as error:
        starting = state.lock.exists() and is_held(state)
        if json:
            print(f'{{"condition": "{"starting" if starting else "stopped"}", "ready": false}}')  # noqa: T201
        else:
            said = "The keeper is being started and does not answer yet." if starting else error.public
            err.print(f"{said} ({state.root})", soft_wrap=True)
        return 1
    if json:
        json_module.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
    else:
        _show(answer)
    return 0 if answer["ready"] else 1


def with_numbers_from_here(answer: control.Answer, state: State) -> control.Answer:
    """Process numbers as the person at this terminal sees them, not as the keeper does in its namespace."""
    numbers = processes.numbers_from_outside(state.root)
    for part in answer.values():
        for row in cast("list[object]", part) if isinstance(part, list) else ():
            if isinstance(row, dict) and "pid" in row:
                named = cast("dict[str, Any]", row)
                named["pid"] = numbers.get(named["pid"])
    return answer


def _show(answer: control.Answer) -> None:
    condition, megabytes = str(answer["condition"]), cast("int", answer["memory_bytes"]) / 1e6
    colour = "green" if answer["ready"] else "yellow"
    name = str(answer["platform"] or "The platform")
    facts = f"  started {_text(answer['since'])}, {megabytes:.0f} MB, version {answer['version']}"
    out.print(Text.assemble((name, "bold"), " is ", (condition, colour), (facts, "dim")), soft_wrap=True)
    if answer.get("taken_over"):
        words = f"The keeper before died; this one took over {answer['taken_over']} processes."
        out.print(Text(words, "dim"), soft_wrap=True)
    for trouble in cast("list[str]", answer["troubles"]):
        out.print(Text.assemble(("! ", "yellow"), trouble), soft_wrap=True)
    if not answer["ready"]:
        _show_part("steps", answer["steps"])
    for part, value in answer.items():
        if part not in HIDDEN and isinstance(value, list | dict):
            _show_part(part, cast("list[Any] | dict[str, Any]", value))
    _show_part("processes", answer["processes"])


def _show_part(name: str, value: object) -> None:
    """A list of objects becomes a table, an object a list of its members with a part of their own for objects
    among them. What says nothing is left out."""
    if not isinstance(value, dict):
        _show_list(name, cast("list[object]", value))
        return
    members = cast("dict[str, Any]", value)
    parts = {key: part for key, part in members.items() if _is_part(part)}
    plain = {key: member for key, member in members.items() if key not in parts and _text(member)}
    if plain or not parts:
        out.print()
        out.print(_pairs(name, plain) if plain else Text.assemble((_heading(name), "bold"), "  none"))
    for key, part in parts.items():
        _show_part(name if key == name else f"{name}, {key}", part)


def _show_list(name: str, rows: list[Any]) -> None:
    out.print()
    if _are_objects(rows):
        out.print(_table(name, rows))
    else:
        out.print(Text.assemble((_heading(name), "bold"), f"  {_text(rows) or 'none'}"))


def _is_part(value: object) -> bool:
    return isinstance(value, dict) or _are_objects(value)


def _are_objects(value: object) -> bool:
    if not isinstance(value, list):
        return False
    rows = cast("list[object]", value)
    return bool(rows) and all(isinstance(row, dict) for row in rows)


def _table(name: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=_heading(name), title_justify="left", title_style="bold", box=None, pad_edge=False)
    shown = _COLUMNS.get(name, tuple(rows[0]))
    columns = [column for column in shown if any(_text(row.get(column)) for row in rows)]
    for column in columns:
        table.add_column(_heading(column), header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row.get(column)) for column in columns))
    return table


def _pairs(name: str, members: dict[str, Any]) -> Table:
    table = Table(
        title=_heading(name),
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    for key, value in members.items():
        table.add_row(Text(_heading(key), "dim"), _cell(key, value))
    return table


def _heading(column: str) -> str:
    return column.replace("_", " ").capitalize()


def _cell(key: str, value: object) -> Text:
    if isinstance(value, int) and (key == "memory" or key.endswith("bytes")):
        return Text(f"{value / 1e6:.0f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB")
    text = _text(value)
    return Text(text, _COLOURS.get(text, ""))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f}"
        case list():
            return _list_text(cast("list[object]", value))
        case dict():
            pairs = cast("dict[str, object]", value).items()
            return ", ".join(f"{key.replace('_', ' ')} {_text(member)}" for key, member in pairs)
        case _:
            return relative(str(value), datetime.now(UTC))


def _list_text(values: list[object]) -> str:
    texts = [_text(value) for value in values]
    apart = any("," in text for text in texts)
    return ("\n" if apart else ", ").join(texts)


def relative(text: str, now: datetime) -> str:
    """An RFC 3339 instant as people say it, `12 min ago` or `in 23 h`; any other text as it is."""
    if not _INSTANT.match(text):
        return text
    seconds = (datetime.fromisoformat(text) - now).total_seconds()
    number, unit = _largest(abs(seconds))
    return f"in {number} {unit}" if seconds > 0 else f"{number} {unit} ago"


def _largest(seconds: float) -> tuple[int, str]:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return int(seconds // size), unit
    return int(seconds), "s"
