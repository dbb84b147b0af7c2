"""`troth replicas`: the database's members, and changes of them while the platform runs."""

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group

replicas = group("The database's members: who leads, and changes while everything runs.")

Member = Annotated[str, typer.Argument(help="A member, such as member-2. Left out: the platform chooses.")]


@replicas.command("list")
def list_(state: StateFolder = STATE, json: Json = False) -> None:
    """Show the members and the last changes of leader."""
    from rich.console import Group
    from rich.text import Text

    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        members = cast("list[dict[str, Any]]", answer["members"])
        rows = [(one["name"], one["role"].replace("_", " "), one["state"], one["lag"]) for one in members]
        kept = cast("list[dict[str, Any]]", answer["failovers"])[-10:]
        past = [(one["noticed"][:19], one["old"], one["new"], one["seconds"], one["cause"]) for one in kept]
        return Group(
            Text(str(answer["standing"])),
            table(("Member", "Role", "State", "Bytes behind"), rows, empty="No member answers."),
            table(("Noticed (UTC)", "From", "To", "Seconds", "Cause"), past, empty="No failover was noted."),
        )

    show(ask_platform(state, "replicas.list"), json=json, people=people)


@replicas.command()
def switchover(member: Member = "", state: StateFolder = STATE, json: Json = False) -> None:
    """Hand the lead over to a standby; writes wait for about a second."""
    _follow(state, "replicas.switchover", json=json, member=member)


@replicas.command()
def add(state: StateFolder = STATE, json: Json = False) -> None:
    """Add a member, which copies the database from the leader. Then write the new number into troth.toml."""
    _follow(state, "replicas.add", json=json)


@replicas.command()
def remove(member: Member = "", state: StateFolder = STATE, json: Json = False) -> None:
    """Give a member up and delete its copy of the data. Then write the new number into troth.toml."""
    _follow(state, "replicas.remove", json=json, member=member)


@replicas.command()
def upgrade(
    binaries: Annotated[
        Path | None,
        typer.Option("--binaries", help="A folder with programs of the same PostgreSQL."),
    ] = None,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Restart the members one after the other, the leader last, with new programs or those of before."""
    folder = str(binaries.resolve()) if binaries else ""
    _follow(state, "replicas.upgrade", json=json, binaries=folder)


def _follow(state: Path, do: str, *, json: bool, **asked: object) -> None:
    """Start the change and show each of its steps until it is done. Exit status 1 when it failed."""
    from troth.cli.administration import ask_platform, follow
    from troth.cli.screen import err, out

    ask_platform(state, do, **asked)
    seen: list[str] = []
    failed = ""
    progress = follow(
        lambda: ask_platform(state, "replicas.progress", seen=len(seen)), lambda one: bool(one["done"])
    )
    for answer in progress:
        failed = str(answer["failed"])
        for line in cast("list[str]", answer["lines"]):
            seen.append(line)
            if not json:
                out.print(line, markup=False, soft_wrap=True)
    if json:
        json_module.dump({"steps": seen, "failed": failed}, sys.stdout, ensure_ascii=False)
        print()  # noqa: T201
    elif failed:
        err.print(f"✗ {failed}", markup=False, soft_wrap=True)
    raise typer.Exit(1 if failed else 0)
