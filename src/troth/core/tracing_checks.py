"""Checks of [tracing] in `troth.toml`: where traces go, and the files that are named."""

from troth.core.alert_checks import is_https
from troth.core.faults import Faults
from troth.core.settings import Document


def check_tracing_table(document: Document, faults: Faults) -> None:
    """Note what is wrong with it. The address itself is not repeated: some hold a token."""
    tracing = document.tracing
    if tracing is None:
        return
    if not is_https(tracing.endpoint):
        hint = "Write https://host/v1/traces; the collector's manual says which path."
        faults.add(("tracing", "endpoint"), "This is no https:// address.", hint)
    for key, file in (("headers_file", tracing.headers_file), ("ca", tracing.ca)):
        if file is not None and not file.is_file():
            faults.add(("tracing", key), "There is no such file.", f"Put it at {file}, or leave the key out.")
