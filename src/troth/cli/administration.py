"""What the verbs of administration share: they ask the running platform and show what it answers."""

import json as json_module
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from troth.cli.screen import err, out
from troth.core.errors import PlatformError
from troth.core.state import State
from troth.hosting import control
from troth.hosting.lock import is_held

SECONDS = 170.0
"""Most verbs take milliseconds and none takes minutes; this bounds one that hangs."""

PAGE = 200
"""How many tenants or domains are listed at once."""

_FOLLOW_SECONDS = 0.3


def ask_platform(folder: Path, do: str, /, **arguments: object) -> control.Answer:
    """Ask the keeper for `noun.verb`. Raises NotRunning, PlatformError, or UsageError for what cannot be."""
    state = State(folder.resolve())
    try:
        return control.ask(state.control, {"do": do, **arguments}, seconds=SECONDS)
    except control.NotRunning as error:
        if not (state.lock.exists() and is_held(state)):
            raise
        raise PlatformError(
            "The keeper is being started and does not answer yet; whatever it was doing was cut short.",
            hint="See: troth status",
        ) from error


def follow(
    ask: Callable[[], control.Answer], over: Callable[[control.Answer], bool]
) -> Iterator[control.Answer]:
    """Ask again and again how a long work stands, until it is over; the last answer comes too. The control
    socket answers and never calls."""
    while not over(answer := ask()):
        yield answer
        time.sleep(_FOLLOW_SECONDS)
    yield answer


def show(
    answer: control.Answer, *, json: bool, people: Callable[[control.Answer], RenderableType | str]
) -> None:
    """The answer as it is for programs, or as `people` puts it."""
    if json:
        json_module.dump(answer, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
        return
    shown = people(answer)
    out.print(Text.assemble(("✓ ", "green"), shown) if isinstance(shown, str) else shown, soft_wrap=True)


def say_more(shown: int, command: str) -> None:
    """Say how to see what follows, where as many were shown as are listed at once."""
    if shown >= PAGE:
        err.print(f"There may be more: {command}", style="dim", markup=False, soft_wrap=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> RenderableType:
    """Rows under a head line; what came from outside is printed as it is, without markup."""
    drawn = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text("" if value is None else str(value)) for value in row))
    return drawn if drawn.row_count else Text(empty, "dim")
