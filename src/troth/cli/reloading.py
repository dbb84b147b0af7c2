"""`troth reload`: what changes, each step of it until it is done, and why it went back."""

import json as json_module
import sys
from pathlib import Path
from typing import cast

import msgspec

from troth.cli.administration import ask_platform, follow, table
from troth.cli.screen import err, out, say_error
from troth.core.settings_changes import Change
from troth.hosting import control
from troth.hosting.progress import Failed, error_of
from troth.hosting.wire import decode, encode

_HOW = {
    "live": "at once",
    "web": "instances of the web service are replaced",
    "instances": "all instances are replaced",
    "restart": "needs troth down and troth up",
}


def reload_configuration(state: Path, *, dry: bool, json: bool) -> int:
    """Returns the exit status: 2 when the file is faulty or names what only a start brings into force, 1 when
    the platform went back to the former configuration."""
    answer = ask_platform(state, "reload", dry=dry)
    if fault := answer.get("fault"):
        return _tell_fault(cast("dict[str, object]", fault), json=json)
    changes = msgspec.convert(answer["changes"], type=tuple[Change, ...])
    if not json:
        _tell_changes(changes)
    steps: list[str] = []
    failed = ""
    if answer["begun"]:
        failed = _follow(state, steps, quiet=json)
    if json:
        told = {**answer, "steps": steps, "failed": failed}
        json_module.dump(told, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
    elif answer["refused"]:
        err.print("✗ Nothing was changed: some of it needs troth down and troth up.", markup=False)
    elif failed:
        err.print(f"✗ {failed}\n→ The former configuration goes on.", markup=False, soft_wrap=True)
    return 2 if answer["refused"] else 1 if failed else 0


def _follow(state: Path, steps: list[str], *, quiet: bool) -> str:
    answer: control.Answer = {}
    for answer in follow(
        lambda: ask_platform(state, "reload.progress", seen=len(steps)), lambda one: bool(one["done"])
    ):
        for line in cast("list[str]", answer["lines"]):
            steps.append(line)
            if not quiet:
                out.print(f"✓ {line}", markup=False, soft_wrap=True)
    return str(answer["failed"])


def _tell_changes(changes: tuple[Change, ...]) -> None:
    rows = (
        (one.key, f"{one.before} → {one.after}", _HOW[one.how] + (f": {one.why}" if one.why else ""))
        for one in changes
    )
    out.print(table(("key", "change", "comes into force"), rows, empty="Nothing has changed."))


def _tell_fault(fault: dict[str, object], *, json: bool) -> int:
    failed = decode(encode(fault), Failed)
    if json:
        json_module.dump({"fault": fault}, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
    else:
        say_error(error_of(failed))
        err.print("→ The former configuration goes on.", markup=False)
    return 2
