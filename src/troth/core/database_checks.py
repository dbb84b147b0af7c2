"""Checks of [database] in `troth.toml` where the database runs elsewhere."""

import re

from troth.core.faults import Faults
from troth.core.process import Endpoint
from troth.core.settings import Document

MOST_HOSTS = 5

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


def check_database(document: Document, faults: Faults) -> None:
    """Note what is wrong with the addresses of an external replica set."""
    database = document.database
    if not database.hosts:
        for key in ("regions", "certificates"):
            if getattr(database, key):
                faults.add(
                    ("database", key), "There are no hosts that it is about.", "Name them: hosts = [ … ]"
                )
        return
    for index, text in enumerate(database.hosts):
        if not _is_endpoint(text):
            # The text is not repeated: people paste addresses with a password in them.
            hint = 'Write "db-1.example:5432". There is no password: client certificates are used, over TLS.'
            faults.add(("database", "hosts", index), "This is no host and port.", hint)
    if len(set(database.hosts)) != len(database.hosts) or len(database.hosts) > MOST_HOSTS:
        said = f"Hosts are named once each, at most {MOST_HOSTS}."
        faults.add(("database", "hosts"), said, "Name each member of the set once.")
    if len(database.regions) != len(database.hosts):
        said = f"There are {len(database.hosts)} hosts and {len(database.regions)} regions."
        faults.add(("database", "regions"), said, "Say where each host stands, in the order of hosts.")
    if database.certificates is None:
        hint = "Bring a platform's bundle: troth member import FILE --into FOLDER"
        faults.add(("database", "certificates"), "The folder with certificates is missing.", hint)


def _is_endpoint(text: str) -> bool:
    try:
        endpoint = Endpoint.read(text)
    except ValueError:
        return False
    return bool(_HOST.fullmatch(endpoint.host)) and 0 < endpoint.port < 65_536 and str(endpoint) == text
