"""`troth receipts`: what the platform signed of acknowledged writes, checked without it."""

from pathlib import Path
from typing import Annotated

import typer

receipts = typer.Typer(
    help="Signed receipts of acknowledged writes, and what survived.", no_args_is_help=True
)


@receipts.callback()
def _group() -> None:
    """Signed receipts of acknowledged writes, and what survived."""


@receipts.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The folder of the receipts, or a copy of it.")],
    key: Annotated[
        Path | None, typer.Option(help="The public key (JWK). Left out: key.json in that folder.")
    ] = None,
) -> None:
    """Check every signature and the chain of a receipt log, offline. Exit status 1 when it does not hold."""
    from troth.cli.screen import out
    from troth.data.receipt_log import read_log, read_public_key, verify_receipts

    found = verify_receipts(read_log(folder), read_public_key(key or folder / "key.json"))
    if not found:
        out.print("There are no receipts.")
        raise typer.Exit(1)
    out.print(
        f"✓ {len(found):,} receipts, number {found[0].number} of {found[0].at} to number {found[-1].number} "
        f"of {found[-1].at}: every signature and the chain hold.",
        soft_wrap=True,
    )
