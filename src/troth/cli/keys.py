"""`troth keys`: what each client domain signs its tokens with, epochs, and what opens the backups."""

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group

keys = group("Keys: what each domain signs with, the epochs of tenants' keys, and the recovery key.")

Domain = Annotated[str, typer.Argument(help="A client domain; without one, all of them.")]
Compromised = Annotated[
    bool,
    typer.Option(
        "--compromised", help="Drop the keys of before: what they signed is refused within a minute."
    ),
]

Export = Annotated[
    Path | None,
    typer.Option("--export", help="Write it into this new file, for you alone, and show nothing."),
]
Check = Annotated[bool, typer.Option("--check", help="Type your copy and learn whether it is right.")]


@keys.command("list")
def list_(domain: Domain = "", state: StateFolder = STATE, json: Json = False) -> None:
    """Show the keys that are published: to come, signing, and retired ones whose tokens may still live."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        rows = cast("list[dict[str, Any]]", answer["keys"])
        cells = [(one["domain"], one["kid"], one["state"], one["signs_from"]) for one in rows]
        return table(("Domain", "Key", "State", "Signs from"), cells, empty="No key was made yet.")

    show(ask_platform(state, "keys.list", domain=domain), json=json, people=people)


@keys.command()
def rotate(
    domain: Domain = "", compromised: Compromised = False, state: StateFolder = STATE, json: Json = False
) -> None:
    """Publish a new key, which signs from ten minutes on; nobody is signed out."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "keys.rotate", domain=domain, compromised=compromised)
    names = cast("list[str]", answer["rotated"])
    when = "signs now" if compromised else "signs in ten minutes"
    show(answer, json=json, people=lambda _: f"A new key of {', '.join(names)} {when}.")


@keys.command()
def epoch(state: StateFolder = STATE, json: Json = False) -> None:
    """Begin a new epoch and end the one before: what was erased stays closed, in old backups too."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "keys.epoch")
    words = (
        f"Epoch {answer['epoch']} is in use, {answer['tenant_keys']} tenants' keys moved to it, and the one"
        f" before is destroyed here. Its last copy leaves the store on {str(answer['last_copy_goes'])[:10]}."
    )
    show(answer, json=json, people=lambda _: words)


@keys.command()
def recovery(export: Export = None, check: Check = False, state: StateFolder = STATE) -> None:
    """Show the recovery key, which opens the backups when this machine is gone: copy it to another place."""
    from troth.cli.screen import out
    from troth.core.clock import SystemClock
    from troth.core.errors import UsageError
    from troth.core.recovery_text import read_groups, write_groups
    from troth.core.state import State
    from troth.data.recovery import export_recovery_key, note_copied, read_recovery_key

    path = State(state.resolve()).recovery_key
    key = read_recovery_key(path)
    if check:
        typed = typer.prompt("Your copy, all groups in one line", hide_input=sys.stdin.isatty())
        if read_groups(typed) != key:
            raise UsageError("This is a recovery key, but not the one of this platform.")
        out.print("✓ Your copy is right.")
    elif export:
        export_recovery_key(key, export)
        out.print(f"✓ The recovery key is in {export}. Move it off this machine.", soft_wrap=True)
    else:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError(
                "The recovery key is shown on a terminal only.", hint="Write it to a file: --export FILE"
            )
        typer.confirm("Whoever sees this key can read every backup. Show it here?", abort=True)
        out.print(write_groups(key), soft_wrap=True, highlight=False)
        out.print("Write it down and keep it apart from the backups. Then run: troth keys recovery --check")
    if not check:
        note_copied(path, SystemClock().now())
