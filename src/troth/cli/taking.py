"""`troth backup now` and `list` for people: a bar on a terminal, a line a step elsewhere."""

import json as json_module
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn
from rich.text import Text

from troth.cli.administration import ask_platform, follow, table
from troth.cli.screen import err, out
from troth.cli.status import relative
from troth.core.errors import PlatformError


def take(folder: Path, *, full: bool, json: bool) -> int:
    """Returns the exit status; raises PlatformError when it cannot begin, or failed."""
    number = ask_platform(folder, "backup.now", full=full)["number"]
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=err,
        transient=True,
    )
    alive = err.is_terminal and not json
    with bar if alive else nullcontext():
        seen = _follow(folder, number, bar, quiet=json, alive=alive)
    if seen["failure"]:
        raise PlatformError(f"The backup failed: {seen['failure']}", hint=str(seen["hint"]))
    if json:
        json_module.dump(seen, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
    else:
        size = f"{seen['done'] / 1e6:.1f} MB"
        out.print(Text.assemble(("✓ ", "green"), f"Made a backup ({seen['kind']}): {seen['backup']}, {size}"))
    return 0


def _follow(folder: Path, number: object, bar: Progress, *, quiet: bool, alive: bool) -> dict[str, Any]:
    task, said = bar.add_task("waiting", total=None), ""
    done = 0
    seen: dict[str, Any] = {}
    for seen in follow(
        lambda: ask_platform(folder, "backup.progress", number=number), lambda one: bool(one["finished"])
    ):
        done = seen["done"] or done
        if alive:
            bar.update(task, description=seen["step"], completed=done, total=seen["total"] or None)
        elif not quiet and seen["step"] != said and not seen["finished"]:
            said = seen["step"]
            out.print(said)
    return {**seen, "done": done}


def listed(answer: dict[str, Any]) -> RenderableType:
    """The backups, and the age of the newest write."""
    now = datetime.now(UTC)
    rows = [
        (
            one["id"],
            one["kind"],
            relative(one["ended"], now),
            f"{one['bytes'] / 1e6:.1f} MB",
            f"{one['plain_bytes'] / 1e6:.1f} MB",
            one["member"],
            "yes" if one["restorable"] else "no",
        )
        for one in answer["backups"]
    ]
    head = ("Backup", "Kind", "Made", "Stored", "Holds", "From", "Restorable")
    newest = answer["newest_write"]
    words = f"Everything up to {newest} can be recovered." if newest else "No write has been shipped yet."
    lost = [Text(f"! Backup {one} is gone from the store or damaged there.", "red") for one in answer["lost"]]
    return Group(
        table(head, rows, empty="There is no backup yet."), Text(f"{words} Store: {answer['store']}"), *lost
    )
