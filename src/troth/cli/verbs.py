"""Every verb: reads its options and calls what does the work, which is imported only then."""

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="troth",
    help="Runs web services under the security standards a company promises, and proves every promise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXAMPLE = Path("examples/residents/troth.toml")

Config = Annotated[
    Path | None, typer.Option("--config", help="troth.toml; without it ./troth.toml, else the example.")
]
StateFolder = Annotated[
    Path,
    typer.Option(
        "--state", envvar="TROTH_STATE", help="The folder that holds everything the platform writes."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Port = Annotated[int | None, typer.Option(min=1, max=65_535)]

_STATE = Path(".state")


@app.command()
def up(
    config: Config = None,
    state: StateFolder = _STATE,
    members: Annotated[
        int | None, typer.Option(min=1, max=5, help="Database members; 1 for a small machine.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and return.")] = False,
    https_port: Port = None,
    http_port: Port = None,
) -> None:
    """Start the platform and stay with it until Ctrl-C."""
    from troth.cli.up import bring_up
    from troth.hosting.plan import Launch

    launch = Launch(
        config=_config(config),
        state=state.absolute(),
        members=members,
        https_port=https_port,
        http_port=http_port,
    )
    raise typer.Exit(bring_up(launch, detach=detach))


@app.command()
def down(state: StateFolder = _STATE) -> None:
    """Stop the platform and wait until every process has ended."""
    from troth.cli.down import take_down

    raise typer.Exit(take_down(state))


@app.command()
def status(state: StateFolder = _STATE, json: Json = False) -> None:
    """Show members, instances, edge and certificates. Status 0 only while everything is up and ready."""
    from troth.cli.status import show_status

    raise typer.Exit(show_status(state, json=json))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A process, or the first letters of several.")] = "",
    state: StateFolder = _STATE,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Stay and show what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", min=1, max=100_000, help="Lines of each.")] = 20,
) -> None:
    """Show what the platform's processes wrote."""
    from troth.cli.logs import show_logs

    raise typer.Exit(show_logs(state, name, follow=follow, lines=lines))


@app.command()
def plan(config: Config = None, state: StateFolder = _STATE) -> None:
    """Check the configuration and say what would be started, and which promise it would break."""
    from troth.cli.plan import show_plan

    raise typer.Exit(show_plan(_config(config), state))


@app.command()
def factsheet(state: StateFolder = _STATE, json: Json = False) -> None:
    """Probe every promise now. Status 1 when one is broken."""
    from troth.cli.factsheet import show_factsheet

    raise typer.Exit(show_factsheet(state, json=json))


@app.command()
def version() -> None:
    """Print the version."""
    from troth import VERSION

    typer.echo(VERSION)


def _config(named: Path | None) -> Path:
    if named is not None:
        return named.absolute()
    own = Path("troth.toml")
    return Path(os.path.normpath((own if own.exists() else EXAMPLE).absolute()))
