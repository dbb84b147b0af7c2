"""Options that many verbs share."""

from pathlib import Path
from typing import Annotated

import typer

STATE = Path(".state")

StateFolder = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="TROTH_STATE",
        help="The folder for everything the platform writes: keys, data, logs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The customer, by short name.")]


def group(summary: str) -> typer.Typer:
    """The verbs of one noun."""
    return typer.Typer(help=summary, no_args_is_help=True)
