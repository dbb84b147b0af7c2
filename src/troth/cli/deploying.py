"""`troth deploy` and `troth rollback`: start the change, and show each of its steps until it is done."""

import json as json_module
import sys
from pathlib import Path
from typing import cast

from troth.cli.administration import ask_platform, follow
from troth.cli.screen import err, out
from troth.hosting import control


def follow_deployment(state: Path, do: str, *, json: bool, **asked: object) -> int:
    """Returns the exit status: 1 when the release did not come to serve, or went back."""
    ask_platform(state, do, **asked)
    steps: list[str] = []
    answer: control.Answer = {}
    for answer in follow(
        lambda: ask_platform(state, "deploy.progress", seen=len(steps)), lambda one: bool(one["done"])
    ):
        for line in cast("list[str]", answer["lines"]):
            steps.append(line)
            if not json:
                out.print(f"✓ {line}", markup=False, soft_wrap=True)
    failed = str(answer["failed"])
    if json:
        told = {name: answer[name] for name in ("app", "release", "seconds", "failed")} | {"steps": steps}
        json_module.dump(told, sys.stdout, ensure_ascii=False)
        print()  # noqa: T201
    elif failed:
        err.print(f"✗ {failed}", markup=False, soft_wrap=True)
    return 1 if failed else 0
