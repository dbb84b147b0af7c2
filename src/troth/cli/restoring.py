"""`troth backup restore`: shows what it would do, asks, and does it; the platform is stopped meanwhile."""

import asyncio
import json as json_module
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from troth.cli.administration import ask_platform, follow
from troth.cli.screen import err, out
from troth.core.clock import to_wire
from troth.core.config import Settings, load_settings
from troth.core.errors import PlatformError, UsageError
from troth.core.secret import Secret
from troth.core.settings import BackupSettings
from troth.core.state import State, open_state
from troth.data.backups.planning import Plan
from troth.data.postgres import find_binaries
from troth.data.recovery import read_recovery_key
from troth.hosting.lock import AlreadyRunning, take
from troth.hosting.start import end_leftovers
from troth.wiring.backup_store import open_kept, store_settings
from troth.wiring.restoring import Outcome, Restore, read_moment


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command."""

    config: Path | None
    state: Path
    to: str
    source: str
    recovery_key: Path | None
    until_gap: bool
    even_different: bool
    yes: bool
    replace: str
    json: bool


def restore(asked: Asked) -> int:
    """Returns the exit status."""
    moment = read_moment(asked.to)
    settings = load_settings(asked.config) if asked.config is not None else None
    if settings is not None and settings.database.hosts:
        raise UsageError(
            "The database of this troth.toml runs elsewhere, and a restore makes one here.",
            hint="Leave database.hosts, regions and certificates out to run what is restored; see "
            "docs/several-hosts.md.",
        )
    kept = State(asked.state.resolve()).recovery_key
    recovery = read_recovery_key(
        asked.recovery_key or kept, hint="Write your copy of it into a file: --recovery-key FILE"
    )
    state = open_state(asked.state.absolute())
    try:
        with take(state):
            end_leftovers(state)
            outcome = asyncio.run(_restore(asked, settings, state, recovery, moment))
    except AlreadyRunning:
        raise UsageError("A platform runs on this state folder.", hint="Stop it first: troth down") from None
    if asked.json:
        json_module.dump(msgspec.to_builtins(outcome, enc_hook=str), sys.stdout, indent=2)
        print()  # noqa: T201
    else:
        out.print(_describe(outcome), soft_wrap=True)
    return 0


async def _restore(
    asked: Asked, settings: Settings | None, state: State, recovery: Secret, moment: datetime | None
) -> Outcome:
    backup = (settings.backup if settings is not None else None) or BackupSettings()
    if asked.source:
        backup = msgspec.structs.replace(backup, store=asked.source)
    store = await open_kept(store_settings(backup, state), recovery)
    try:
        binaries = find_binaries(settings.database.binaries if settings is not None else None)
        work = Restore(state, store, recovery, binaries, even_different=asked.even_different)
        plan = await work.plan(moment, until_gap=asked.until_gap)
        err.print(_preview(plan, store.place, state, replaces=work.replaces), soft_wrap=True)
        _confirm(asked, name_of(settings, state), replaces=work.replaces)
        with Bar(quiet=asked.json) as bar:
            return await work.carry_out(plan, bar.tell)
    finally:
        await store.close()


def name_of(settings: Settings | None, state: State) -> str:
    """What has to be typed before a replica set is replaced: the platform's name, or the folder's without a
    configuration."""
    return settings.platform.name if settings is not None else state.root.name


def _confirm(asked: Asked, name: str, *, replaces: bool) -> None:
    """Raises UsageError unless somebody who knows what they do said so."""
    if replaces:
        typed = asked.replace
        if not typed and sys.stdin.isatty():
            typed = err.input(f"Type its name, {name}, to move the replica set of now aside: ", markup=False)
        if typed != name:
            raise UsageError(
                f"There is a replica set in this state folder, of {name}; nothing was changed.",
                hint=f"To put the restored one in its place: --yes-replace {name!r}",
            )
    elif not asked.yes and not asked.replace:
        answer = err.input("Restore this? [y/N] ") if sys.stdin.isatty() else ""
        if answer.strip().lower() not in ("y", "yes"):
            raise UsageError("Nothing was changed.", hint="To restore without being asked: --yes")


def _preview(plan: Plan, place: str, state: State, *, replaces: bool) -> Text:
    backup = plan.backup
    text = Text("This would be restored\n", "bold")
    text.append(f"  from        {place}\n")
    text.append(f"  backup      {backup.id}, {backup.kind}, ended {to_wire(backup.ended)}")
    text.append(f", {len(plan.chain)} to combine\n" if len(plan.chain) > 1 else "\n")
    segments, shipped = len(plan.log.files), to_wire(plan.log.shipped)
    text.append(f"  log         {segments} segments, the newest stored {shipped}\n")
    text.append(
        f"  to          {to_wire(plan.moment) if plan.moment else 'the newest write that is there'}\n"
    )
    text.append(f"  into        {state.root}\n")
    text.append(f"  about       {plan.seconds:.0f} s, {plan.plain / 1e6:.0f} MB")
    if plan.log.lost:
        text.append(f"\n  lost        all from segment {plan.log.lost} on, which is missing", "bold red")
    if replaces:
        text.append("\n  The replica set of now is moved aside within the state folder, not deleted.", "bold")
    return text


def _describe(outcome: Outcome) -> Text:
    facts = outcome.facts
    text = Text.assemble(("✓ ", "green"), f"Restored in {outcome.seconds:.1f} s; ")
    text.append(f"newest write {facts.newest or 'unknown'}, " if facts.newest else "")
    text.append(f"{facts.canaries} canaries and {facts.tenant_keys} tenants' keys opened, ")
    if facts.tables:
        text.append(f"{facts.rows:,} rows of {facts.tables} tables compared with what the backup noted.")
    else:
        text.append("no rows compared: the backup noted none.")
    for difference in facts.differences:
        text.append(f"\nDiffers: {difference}", "bold red")
    if facts.erased:
        text.append(f"\n{facts.erased} tenants were erased since then: their data stays closed.")
    if facts.closed:
        text.append(
            f"\nThe keys of {facts.closed} tenants do not open: their data cannot be read.", "bold red"
        )
    if outcome.aside is not None:
        text.append(f"\nWhat was there before lies in {outcome.aside}.")
    return text.append("\nNow run: troth up")


def run_drill(folder: Path, *, json: bool) -> int:
    """Have the platform drill its newest backup, and stay until it has; returns the exit status."""
    number = ask_platform(folder, "backup.drill")["number"]
    with Bar(quiet=json) as bar:
        seen: dict[str, Any] = {}
        for seen in follow(
            lambda: ask_platform(folder, "backup.drilling", number=number),
            lambda one: bool(one["finished"]) or one["number"] != number,
        ):
            if not seen["finished"]:
                bar.tell(seen["step"], seen["done"])
    drilled: dict[str, Any] | None = seen["result"] if seen["number"] == number else None
    if drilled is None:
        raise PlatformError("The drill was given up.", hint="See: troth logs keeper")
    if json:
        json_module.dump(drilled, sys.stdout, indent=2)
        print()  # noqa: T201
    else:
        out.print(_describe_drill(drilled), soft_wrap=True)
    return 1 if drilled["problem"] else 0


def _describe_drill(drilled: dict[str, Any]) -> Text:
    if drilled["problem"]:
        return Text.assemble(("✗ ", "red"), f"{drilled['backup']}: {drilled['problem']}")
    lost = drilled["acknowledged"] - drilled["survived"]
    return Text.assemble(
        ("✓ ", "green"),
        f"{drilled['backup']} was restored from the store alone in {drilled['seconds']:.1f} s: "
        f"{drilled['rows']} rows of {drilled['tables']} tables are as recorded, {drilled['canaries']} "
        f"canaries and {drilled['tenant_keys']} tenants' keys opened, {lost} of {drilled['acknowledged']} "
        f"acknowledged writes lost; the newest write was {drilled['age_seconds']:.0f} s old.",
    )


class Bar:
    """Progress: a bar on a terminal, a line for each step elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._drawn = err.is_terminal and not quiet
        self._title = ""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=err, transient=True)
        self._task = self._progress.add_task("", total=1.0)

    def __enter__(self) -> "Bar":
        if self._drawn:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:  # it ends with an empty line otherwise
            self._progress.stop()

    def tell(self, title: str, done: float) -> None:
        """So much of this step is done, 0 to 1."""
        if self._drawn:
            self._progress.update(self._task, description=title, completed=done)
        elif title != self._title and not self._quiet:
            err.print(f"· {title}", markup=False)
        self._title = title
