"""Options that many verbs share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from troth.core.errors import ConfigError

STATE = Path(".state")
EXAMPLE = Path("examples/residents/troth.toml")

StateFolder = Annotated[
    Path,
    typer.Option(
        "--state",
        envvar="TROTH_STATE",
        help="The folder for everything the platform writes: keys, data, logs.",
    ),
]
NetworkChoice = Literal["auto", "namespace", "loopback"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Tenant = Annotated[str, typer.Option("--tenant", help="The customer, by short name.")]


def group(summary: str) -> typer.Typer:
    """The verbs of one noun."""
    return typer.Typer(help=summary, no_args_is_help=True)


def hours_up_to(most: float, *, least: float = 0.0) -> Callable[[str], float]:
    """Reads a number of hours. What is none, infinity and NaN among it, is wrong usage."""

    def read(text: str) -> float:
        try:
            hours = float(text)
        except ValueError:
            hours = -1.0
        if not least <= hours <= most:
            raise typer.BadParameter(f"{text!r} is no number from {least:g} to {most:g}.")
        return hours

    return read


def find_config(named: Path | None) -> Path:
    """The configuration file that a verb is about. Raises ConfigError when there is none."""
    if named is not None:
        return named.absolute()
    found = next((path for path in (Path("troth.toml"), EXAMPLE) if path.exists()), None)
    if found is None:
        raise ConfigError(
            "There is no troth.toml in this folder.",
            hint="Go to the folder of yours, or name it: --config FILE",
        )
    return Path(os.path.normpath(found.absolute()))
