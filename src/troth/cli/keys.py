"""`troth keys`: what each client domain signs its tokens with."""

from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group

keys = group("Signing keys: one for each domain, followed by a new one each month.")

Domain = Annotated[str, typer.Argument(help="A client domain; without one, all of them.")]
Compromised = Annotated[
    bool,
    typer.Option(
        "--compromised", help="Drop the keys of before: what they signed is refused within a minute."
    ),
]


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
