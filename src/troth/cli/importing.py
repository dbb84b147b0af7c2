"""`troth import`: people of another system, streamed to the platform in batches."""

import json as json_module
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from troth.cli.options import STATE, Json, StateFolder, Tenant, group

imports = group("What another system knew, brought here.")

MOST_ROWS = 100
MOST_BYTES = 256 * 1024
EVERY = 1000


@imports.callback()
def _group() -> None:
    """Keeps the noun in `troth import users`."""


@imports.command("users")
def import_users(
    file: Annotated[Path, typer.Argument(help="UTF-8, one person a line.", exists=True, dir_okay=False)],
    tenant: Tenant,
    kind: Annotated[
        Literal["csv", "ndjson", ""], typer.Option("--format", help="Left out: by the file's name.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check; change nothing.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Where rejected lines go. Left out: the output.")
    ] = None,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Import people with the password hashes of another system. Whoever is here already stays as they are.

    Exit status 1 when a line was rejected. After an interruption the same command goes on where it stopped.
    With --json: one object for each rejected line, and a last one with the totals.
    """
    from troth.cli.administration import ask_platform
    from troth.cli.screen import err, out

    chosen = kind or ("csv" if file.suffix.lower() == ".csv" else "ndjson")
    totals = {"lines": 0, "added": 0, "present": 0, "rejected": 0}
    with ExitStack() as stack:
        source = stack.enter_context(file.open("rb"))
        target = stack.enter_context(report.open("w", encoding="utf-8")) if report else sys.stdout
        progress = stack.enter_context(_Progress(file.stat().st_size))
        for batch, faults in _batches(source, chosen):
            answer: dict[str, Any] = {"added": 0, "present": 0, "rejected": []}
            if batch:
                answer = ask_platform(state, "user.import", tenant=tenant, rows=batch, dry_run=dry_run)
            rejected = sorted([*faults, *answer["rejected"]], key=lambda one: one["line"])
            _tell(target, rejected, json=json)
            totals["lines"] += len(batch) + len(faults)
            totals["added"] += answer["added"]
            totals["present"] += answer["present"]
            totals["rejected"] += len(rejected)
            progress.at(source.tell(), totals["lines"])
    if json:
        json_module.dump(totals, sys.stdout)
        print()  # noqa: T201
    else:
        would = "would be added" if dry_run else "added"
        words = f"{totals['added']} {would}, {totals['present']} here already, {totals['rejected']} rejected."
        (err if totals["rejected"] else out).print(words)
    raise typer.Exit(1 if totals["rejected"] else 0)


def _batches(source: Any, kind: Any) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Rows and faults, so many at once that one request holds them."""
    from troth.core.import_file import Fault, read_people

    rows: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    size = 0
    for one in read_people(source, kind):
        if isinstance(one, Fault):
            faults.append({"line": one.line, "reason": one.reason})
            cost = 0
        elif "email" not in one.fields:
            faults.append({"line": one.line, "reason": "there is no email"})
            cost = 0
        else:
            row = {"line": one.line, **one.fields}
            cost = len(json_module.dumps(row))
            if rows and size + cost > MOST_BYTES:
                yield rows, faults
                rows, faults, size = [], [], 0
            rows.append(row)
        size += cost
        if len(rows) == MOST_ROWS or len(faults) == EVERY:
            yield rows, faults
            rows, faults, size = [], [], 0
    if rows or faults:
        yield rows, faults


def _tell(target: TextIO, rejected: list[dict[str, Any]], *, json: bool) -> None:
    for one in rejected:
        words = json_module.dumps(one) if json else f"line {one['line']}: {one['reason']}"
        target.write(words + "\n")
    target.flush()


class _Progress:
    """A bar on a terminal; elsewhere a line for each thousand."""

    def __init__(self, size: int) -> None:
        from rich.progress import Progress

        from troth.cli.screen import err

        self._err = err
        self._said = 0
        self._bar = Progress(console=err, transient=True) if err.is_terminal else None
        self._task = self._bar.add_task("Importing", total=max(size, 1)) if self._bar else None

    def __enter__(self) -> "_Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def at(self, position: int, lines: int) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=position, description=f"{lines} lines")
        elif lines // EVERY > self._said:
            self._said = lines // EVERY
            self._err.print(f"{self._said * EVERY} lines")
