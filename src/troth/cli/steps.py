"""The list of steps: alive on a terminal, one line a step elsewhere."""

from types import TracebackType
from typing import Self

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from troth.cli.screen import MARKS, out
from troth.hosting.progress import StepChange, Steps

_SETTLED = ("done", "failed", "stopped")


class StepList:
    """Show changes inside the block."""

    def __init__(self, steps: Steps) -> None:
        self._titles = dict(steps.steps)
        self._changes = {name: StepChange(name, "waiting") for name in self._titles}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._render, console=out, refresh_per_second=8)

    def __enter__(self) -> Self:
        if out.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, change: StepChange) -> None:
        """One step changed."""
        self._changes[change.name] = change
        if out.is_terminal:
            self._live.refresh()
        elif change.condition in _SETTLED:
            out.print(self._line(change), soft_wrap=True)

    def _line(self, change: StepChange) -> Text:
        glyph, colour = MARKS[change.condition]
        words = f": {change.words}" if change.words else ""
        verb = " stopped" if change.condition == "stopped" else ""
        seconds = f" ({change.seconds:.1f} s)"
        return Text.assemble(
            (glyph, colour), f" {self._titles.get(change.name, change.name)}{verb}{words}{seconds}"
        )

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for change in self._changes.values():
            table.add_row(*self._row(change))
        return table

    def _row(self, change: StepChange) -> tuple[Text | Spinner, Text, Text, Text]:
        glyph, colour = MARKS[change.condition]
        busy = change.condition in ("running", "stopping")
        mark = self._spinner if busy else Text(glyph, colour)
        waiting = change.condition == "waiting"
        seconds = f"{change.seconds:.1f} s" if change.condition in _SETTLED else ""
        title = Text(self._titles.get(change.name, change.name), "dim" if waiting else "")
        return mark, title, Text(change.words, "dim"), Text(seconds, "dim")
