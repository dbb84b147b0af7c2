"""Checks of [alerts] in `troth.toml`: each target is a webhook with its secret, or an address of a person."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from troth.core.faults import Faults
from troth.core.settings import AlertTargetSettings, Document
from troth.core.toml_lines import KeyPath

MOST_TARGETS = 10

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_EMAIL = re.compile(r"[^\s@,;<>\"()]{1,64}@[^\s@,;<>\"()]{1,189}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)


def check_alerts(document: Document, faults: Faults) -> None:
    """Note what is wrong with the targets of alerts."""
    targets = document.alerts.targets
    if len(targets) > MOST_TARGETS:
        said = f"There are more than {MOST_TARGETS} targets."
        faults.add(("alerts", "targets"), said, "Tell a few, who tell others.")
    for name, target in targets.items():
        path = ("alerts", "targets", name)
        if not _NAME.fullmatch(name):
            hint = "Use small letters, digits and -, at most 32."
            faults.add(path, "This cannot be the name of a target.", hint)
        if bool(target.webhook) == bool(target.mail):
            faults.add(path, "A target has a webhook or an e-mail address.", "Give one of webhook and mail.")
        elif target.webhook:
            _check_webhook(target, path, faults)
        else:
            _check_mail(document, target, path, faults)


def _check_webhook(target: AlertTargetSettings, path: KeyPath, faults: Faults) -> None:
    """The address itself is not repeated: many hold a token."""
    if not is_https(target.webhook):
        faults.add((*path, "webhook"), "This is no https:// address.", "Write https://host/path.")
    if target.secret_file is None:
        hint = 'Put "whsec_" and base64 of 32 random bytes into a file (chmod 600), and name it.'
        faults.add((*path, "secret_file"), "A webhook is signed, and there is no secret for it.", hint)
    for key in ("secret_file", "ca"):
        file: Path | None = getattr(target, key)
        if file is not None and not file.is_file():
            faults.add((*path, key), "There is no such file.", f"Put it at {file}, or leave the key out.")


def _check_mail(document: Document, target: AlertTargetSettings, path: KeyPath, faults: Faults) -> None:
    if not _EMAIL.fullmatch(target.mail) or not target.mail.isascii():
        faults.add((*path, "mail"), "This is no e-mail address.", 'Write "operations@company.example".')
    if document.mail is None:
        hint = "Declare the relay in [mail], or use a webhook."
        faults.add((*path, "mail"), "There is no relay that takes messages.", hint)
    for key in ("secret_file", "ca"):
        if getattr(target, key) is not None:
            faults.add((*path, key), "This is of a webhook.", "Leave it out; [mail] has its own.")


def is_https(address: str) -> bool:
    """With a host, without a user and a password, which would end in logs."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    named = parts.hostname is not None and _HOST.fullmatch(parts.hostname) is not None
    plain = parts.username is None and parts.password is None and not parts.fragment
    return parts.scheme == "https" and named and plain and port != 0 and address.isascii()
