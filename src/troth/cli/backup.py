"""`troth backup`: what lies in the backup store, taking more of it, and having it back."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group

backup = group("Backups: taking, listing and restoring them, and drills that prove that it works.")


@backup.command()
def now(
    full: Annotated[
        bool, typer.Option("--full", help="A full backup, even where an increment would do.")
    ] = False,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Take a backup now, and stay until it is in the store. Exit status 1 when it failed."""
    from troth.cli.taking import take

    raise typer.Exit(take(state, full=full, json=json))


@backup.command("list")
def list_(state: StateFolder = STATE, json: Json = False) -> None:
    """Show every backup in the store, and how old the newest write is that could be recovered."""
    from troth.cli.administration import ask_platform, show
    from troth.cli.taking import listed

    def people(answer: dict[str, object]) -> Any:
        return listed(cast("dict[str, Any]", answer))

    show(ask_platform(state, "backup.list"), json=json, people=people)


@backup.command()
def drill(state: StateFolder = STATE, json: Json = False) -> None:
    """Restore the newest backup into a scratch server and compare it. Exit status 1 when the drill failed."""
    from troth.cli.restoring import run_drill

    raise typer.Exit(run_drill(state, json=json))


@backup.command()
def restore(
    to: Annotated[str, typer.Option("--to", help="A moment such as 2026-11-25T09:30:00Z, or latest.")],
    source: Annotated[str, typer.Option("--from", help="The store. Left out: the one of troth.toml.")] = "",
    recovery_key: Annotated[
        Path | None,
        typer.Option("--recovery-key", help="A file with the recovery key. Left out: the state folder's."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The configuration file. Left out: troth.toml, if there.")
    ] = None,
    state: StateFolder = STATE,
    until_gap: Annotated[
        bool, typer.Option("--until-gap", help="Take what lies before a missing piece of the log.")
    ] = False,
    even_different: Annotated[
        bool, typer.Option("--even-different", help="Take tables that are not what the backup noted of them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; never enough to replace anything.")] = False,
    yes_replace: Annotated[
        str, typer.Option("--yes-replace", help="The name of the platform whose replica set is replaced.")
    ] = "",
    json: Json = False,
) -> None:
    """Make a new replica set from a backup. The platform has to be stopped; nothing of it is deleted."""
    from troth.cli.restoring import Asked
    from troth.cli.restoring import restore as work

    found = config or next((one for one in (Path("troth.toml"),) if one.exists()), None)
    asked = Asked(
        config=found.absolute() if found is not None else None,
        state=state,
        to=to,
        source=source,
        recovery_key=recovery_key,
        until_gap=until_gap,
        even_different=even_different,
        yes=yes,
        replace=yes_replace,
        json=json,
    )
    raise typer.Exit(work(asked))
