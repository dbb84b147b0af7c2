"""`troth access`: why somebody may do something, or may not."""

from typing import Annotated, Any, cast

import typer
from rich.text import Text

from troth.cli.options import STATE, Json, StateFolder, group

access = group("Who may do what, and why.")


@access.command()
def explain(
    person: Annotated[str, typer.Argument(help="The e-mail address of the person.")],
    client: Annotated[
        str, typer.Argument(help="The client_id, or `session` for the domain's own application.")
    ],
    call: Annotated[str, typer.Argument(help='The call, such as "GET /api/v1/tickets".')],
    domain: Annotated[
        str, typer.Option(help="On which client domain, where several know this address.")
    ] = "",
    scope: Annotated[str, typer.Option(help="What the client asks for. Left out: all that it may.")] = "",
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Follow a call from the person to the row. Exit status 1 when it would be denied."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(
        state,
        "access.explain",
        person=person,
        client=client,
        call=call,
        domain=domain,
        scope=scope.split(),
    )
    show(answer, json=json, people=_chain)
    raise typer.Exit(0 if answer["allowed"] else 1)


def _chain(answer: dict[str, object]) -> Text:
    text = Text.assemble((str(answer["call"]), "bold"), (f" needs {answer['needed']}\n", "dim"))
    for link in cast("list[dict[str, Any]]", answer["links"]):
        mark, colour = ("✓", "green") if link["holds"] else ("✗", "bold red")
        text.append(f"{mark} ", colour).append(f"{link['what']}: ", "bold").append(f"{link['says']}\n")
    if answer["allowed"]:
        return text.append("Allowed.", "green")
    return text.append("Denied. ", "bold red").append(str(answer["hint"]))
