"""`troth certificates`: what the platform's parts show one another, and taking a stolen one back."""

from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group

certificates = group("Certificates between the platform's own parts: see them, take a stolen one back.")

What = Annotated[
    str, typer.Argument(help="Its serial number, its holder as TRUST/NAME, or a whole trust domain.")
]


@certificates.command("list")
def list_(state: StateFolder = STATE, json: Json = False) -> None:
    """Show every certificate in use, the next to end first."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        rows = cast("list[dict[str, Any]]", answer["certificates"])
        cells = [(one["trust"], one["name"], one["not_after"], one["serial"]) for one in rows]
        return table(("Trust domain", "Holder", "Ends", "Serial"), cells, empty="There is none.")

    show(ask_platform(state, "certificates.list"), json=json, people=people)


@certificates.command()
def revoke(what: What, state: StateFolder = STATE, json: Json = False) -> None:
    """Take a client's certificate back: it opens nothing any more, and its trust domain gets new ones."""
    from troth.cli.administration import ask_platform, show

    def people(answer: dict[str, object]) -> str:
        names = ", ".join(cast("list[str]", answer["renewed"]))
        return (
            f"The certificates of {answer['trust']} open nothing any more. "
            f"New ones are in use after {answer['seconds']} s: {names}."
        )

    show(ask_platform(state, "certificates.revoke", what=what), json=json, people=people)
