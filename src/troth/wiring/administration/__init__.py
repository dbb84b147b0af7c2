"""What the operator asks of a running platform over the control socket, a module for each noun."""

from typing import Any

from troth.hosting.plan import Action
from troth.wiring.administration import clients, explaining, keys, roles, tenancy
from troth.wiring.administration.office import Office, Verb, action_of

__all__ = ["Office", "actions"]

NOUNS: tuple[tuple[Verb[Any], ...], ...] = (
    roles.VERBS,
    clients.VERBS,
    keys.VERBS,
    tenancy.VERBS,
    explaining.VERBS,
)
"""The verbs of each noun."""


def actions(office: Office) -> dict[str, Action]:
    """Every verb as the keeper knows it, by its name `noun.verb`."""
    return {verb.name: action_of(office, verb) for verbs in NOUNS for verb in verbs}
