"""`troth drill`: the keeper breaks a promise on purpose and mends it, this shows what the probe saw."""

import json as json_module
import sys
from pathlib import Path
from typing import Any, cast

from rich.text import Text

from troth.cli.factsheet import VERDICTS
from troth.cli.screen import err, out
from troth.core.errors import PlatformError
from troth.core.state import State
from troth.hosting import control

SECONDS = 300.0
"""One drill takes three looks of its probe, each of which may be a spike and a lull."""


def run_drills(folder: Path, promise: str, *, json: bool) -> int:
    """Returns the exit status: 1 when a probe did not turn red, or not back. Of several, one that cannot be
    begun keeps none of the others from it."""
    state = State(folder.resolve())
    if promise:
        drilled = [_run(state, promise, quiet=json)]
    else:
        drilled = [_try(state, name, quiet=json) for name in _known(state)]
    if json:
        json_module.dump({"drills": drilled}, sys.stdout, indent=2, ensure_ascii=False)
        print()  # noqa: T201
    else:
        failed = sum(not one["passed"] for one in drilled)
        out.print(Text(f"\n{len(drilled) - failed} of {len(drilled)} probes turned red and back.", "bold"))
    return 0 if all(one["passed"] for one in drilled) else 1


def _known(state: State) -> list[str]:
    answer = control.ask(state.control, {"do": "drills"}, seconds=SECONDS)
    return [str(one["promise"]) for one in cast("list[dict[str, Any]]", answer["drills"])]


def _try(state: State, name: str, *, quiet: bool) -> dict[str, Any]:
    try:
        return _run(state, name, quiet=quiet)
    except control.NotRunning:
        raise
    except PlatformError as error:
        if not quiet:
            words = f": could not be drilled. {error.public} {error.hint}".rstrip()
            out.print(Text.assemble(("✗ ", "bold red"), (name, "bold"), words))
        return {"promise": name, "passed": False, "problem": error.public}


def _run(state: State, name: str, *, quiet: bool) -> dict[str, Any]:
    request: control.Answer = {"do": "drill", "promise": name}
    if quiet:
        return control.ask(state.control, request, seconds=SECONDS)
    with err.status(f"Breaking {name} …"):
        drilled = control.ask(state.control, request, seconds=SECONDS)
    out.print(_describe(drilled))
    return drilled


def _describe(drilled: dict[str, Any]) -> Text:
    mark, colour = ("✓", "green") if drilled["passed"] else ("✗", "bold red")
    text = Text.assemble(
        (f"{mark} ", colour), (str(drilled["promise"]), "bold"), f": {drilled['defect']}\n    "
    )
    for number, moment in enumerate(("before", "during", "after")):
        verdict = str(drilled[moment])
        text.append(" → " if number else "").append(verdict, VERDICTS[verdict][1])
    return text.append(f", seen after {drilled['seconds']:.1f} s\n    {drilled['seen']}", "dim")
