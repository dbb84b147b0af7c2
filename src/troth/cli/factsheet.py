"""`troth factsheet`: the keeper probes every promise, this prints what it saw."""

import json as json_module
import sys
from pathlib import Path
from typing import Any, cast

from rich.table import Table
from rich.text import Text

from troth.cli.screen import err, out
from troth.core.errors import PlatformError
from troth.core.state import State
from troth.hosting import control

SECONDS = 170.0
"""A round of all probes takes a few seconds; this bounds one that hangs."""

VERDICTS = {
    "proved": ("✓", "green"),
    "attested": ("✎", "cyan"),
    "inherited": ("↳", "cyan"),
    "unknown": ("?", "yellow"),
    "broken": ("✗", "bold red"),
}
"""Verdict → glyph and colour."""


def show_factsheet(folder: Path, *, json: bool) -> int:
    """Returns the exit status: 1 when a promise is broken."""
    answer = _ask(State(folder.resolve()), json=json)
    lines = cast("list[dict[str, Any]]", answer["promises"])
    if json:
        json_module.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
    else:
        out.print(_table(lines))
        out.print(_count(str(answer["platform"]), str(answer["at"]), lines))
    return 1 if any(line["verdict"] == "broken" for line in lines) else 0


def _ask(state: State, *, json: bool) -> control.Answer:
    """Raises PlatformError while nothing runs: a promise is proved on a running platform or not at all."""
    with err.status("Probing 24 promises …") if not json else _nothing():
        answer = control.ask(state.control, {"do": "factsheet"}, seconds=SECONDS)
    if not isinstance(answer.get("promises"), list):
        raise PlatformError("The keeper's answer is no factsheet.", hint="See: troth logs keeper")
    return answer


def _nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def _table(lines: list[dict[str, Any]]) -> Table:
    table = Table(box=None, show_header=True, header_style="dim", pad_edge=False, row_styles=("", ""))
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Promise and evidence", ratio=1)
    table.add_column("Seen (UTC)", no_wrap=True)
    for room, group in _by_room(lines):
        table.add_row("", Text(f"\n{room.capitalize()}", "bold"), "")
        for line in group:
            table.add_row(_verdict(line["verdict"]), _promise(line), _time(line["probed_at"]))
    return table


def _by_room(lines: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    rooms: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        rooms.setdefault(line["id"].partition(".")[0], []).append(line)
    return list(rooms.items())


def _verdict(verdict: str) -> Text:
    glyph, colour = VERDICTS[verdict]
    return Text(f"{glyph} {verdict}", colour)


def _promise(line: dict[str, Any]) -> Text:
    return Text.assemble(line["sentence"], (f"\n{line['evidence']}", "dim"))


def _time(instant: str | None) -> Text:
    return Text(instant[11:19] if instant else "—", "dim")


def _count(platform: str, at: str, lines: list[dict[str, Any]]) -> Text:
    counts = {verdict: sum(line["verdict"] == verdict for line in lines) for verdict in VERDICTS}
    parts = [(f"{count} {verdict}", VERDICTS[verdict][1]) for verdict, count in counts.items() if count]
    text = Text.assemble("\n", (platform, "bold"), f", {at[:19].replace('T', ' ')} UTC: ")
    for index, part in enumerate(parts):
        text.append(", " if index else "").append(*part)
    return text.append(".")
