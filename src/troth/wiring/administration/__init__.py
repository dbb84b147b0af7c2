"""What the operator asks of a running platform over the control socket, a module for each noun."""

from typing import Any

from troth.hosting.plan import Action
from troth.wiring.administration import clients, explaining, importing, keys, roles, tenancy, users
from troth.wiring.administration.office import Office, Verb, action_of

__all__ = ["Office", "actions", "recheck_domains"]

NOUNS: tuple[tuple[Verb[Any], ...], ...] = (
    roles.VERBS,
    clients.VERBS,
    keys.VERBS,
    tenancy.VERBS,
    users.VERBS,
    importing.VERBS,
    explaining.VERBS,
)
"""The verbs of each noun."""


async def recheck_domains(office: Office) -> str:
    """A duty: are the records still there that prove whose domains are?"""
    async with office.open() as tools:
        gone = await tenancy.tenancy_of(tools).recheck()
    return f"the record is gone of {', '.join(gone)}" if gone else ""


def actions(office: Office) -> dict[str, Action]:
    """Every verb as the keeper knows it, by its name `noun.verb`."""
    return {verb.name: action_of(office, verb) for verbs in NOUNS for verb in verbs}
