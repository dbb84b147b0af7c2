"""`troth alerts`: what is wrong now, whom it was told to, and who is not to be told."""

from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group, hours_up_to

alerts = group("Alerts: what is wrong now, and whom it is told to.")

Key = Annotated[str, typer.Argument(help="The key of an alert, of `troth alerts list`; * and ? match any.")]


@alerts.command("list")
def list_(state: StateFolder = STATE, json: Json = False) -> None:
    """Show what stands, what is silenced, and whether alerts arrive. Exit status 1 while an alert stands."""
    from rich.console import Group

    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        standing = cast("list[dict[str, Any]]", answer["alerts"])
        silences = cast("list[dict[str, Any]]", answer["silences"])
        targets = cast("list[dict[str, Any]]", answer["targets"])
        return Group(
            table(
                ("Alert", "Severity", "What is wrong", "Since", "Told", "Silenced until"),
                (
                    (
                        one["key"],
                        one["severity"],
                        one["words"],
                        _ago(one["since"]),
                        ", ".join(one["told"]),
                        _ago(one["silenced_until"]),
                    )
                    for one in standing
                ),
                empty="Nothing is wrong.",
            ),
            *(
                [
                    table(
                        ("Silence", "Until", "Why"),
                        ((one["pattern"], _ago(one["until"]), one["reason"]) for one in silences),
                        empty="",
                    )
                ]
                if silences
                else []
            ),
            table(
                ("Target", "A test arrived", "Waiting", "Problem"),
                ((one["name"], _ago(one["tested"]), one["waiting"], one["problem"]) for one in targets),
                empty="Alerts are told to nobody: write [alerts] into troth.toml.",
            ),
        )

    answer = ask_platform(state, "alerts.list")
    show(answer, json=json, people=people)
    raise typer.Exit(1 if answer["alerts"] else 0)


@alerts.command()
def silence(
    key: Key,
    hours: Annotated[
        float,
        typer.Option("--hours", parser=hours_up_to(720), metavar="NUMBER", help="For how long; at most 720."),
    ] = 1.0,
    reason: Annotated[str, typer.Option("--reason", help="Why, for who asks later.")] = "",
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Tell nobody of an alert for a while. It is watched all the same, and told if it still stands then."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "alerts.silence", pattern=key, hours=hours, reason=reason)
    show(answer, json=json, people=lambda told: f"{told['pattern']} is silenced until {told['until']}.")


@alerts.command()
def unsilence(key: Key, state: StateFolder = STATE, json: Json = False) -> None:
    """End a silence before its time."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "alerts.unsilence", pattern=key)
    show(answer, json=json, people=lambda told: f"{told['pattern']} is told again.")


@alerts.command()
def test(state: StateFolder = STATE, json: Json = False) -> None:
    """Send a test to every target and wait until it is taken. Exit status 1 if one does not take it."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        rows = cast("list[dict[str, Any]]", answer["tests"])
        cells = ((one["target"], "yes" if one["delivered"] else "no", one["problem"]) for one in rows)
        return table(("Target", "Taken", "Problem"), cells, empty="")

    answer = ask_platform(state, "alerts.test")
    show(answer, json=json, people=people)
    tests = cast("list[dict[str, Any]]", answer["tests"])
    raise typer.Exit(0 if all(one["delivered"] for one in tests) else 1)


def _ago(instant: str | None) -> str:
    from datetime import UTC, datetime

    from troth.cli.status import relative

    return relative(instant, datetime.now(UTC)) if instant else ""
