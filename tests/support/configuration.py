"""A small, sound troth.toml to break in one place, and what the breaking is answered with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from troth.core.config import Settings
from troth.core.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples/residents"

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M0 0h8v8z"/></svg>'

SCHEMA = '{"type": "object", "properties": {"title": {"type": "string"}, "body": {}}}'

MINIMAL = """\
version = 1

[platform]
name = "Residents"
region = "IE"

[tenants.lindenhof]
name = "Lindenhof"

[[domains]]
name = "residents.localhost"
tenant = "lindenhof"
app = "portal"
branding.name = "Lindenhof"
branding.colour = "#2c6e49"
branding.logo = "logo.svg"

[apps.portal]
target = "portal:app"
folder = "."

[collections.tickets]
schema = "ticket.json"

[roles.resident]
scopes = ["tickets:create", "tickets:read:own:title"]

[clients.ledger]
name = "Ledger"
tenant = "lindenhof"
redirect_uris = ["https://ledger.example/callback"]
scopes = ["tickets:read"]

[[users]]
email = "anna@lindenhof.example"
name = "Anna"
tenant = "lindenhof"
roles = ["resident"]
"""


Load = Callable[[str], Settings]
"""Writes a text as troth.toml beside its logo and schema, and reads it."""


def all_faults(load: Load, text: str) -> list[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        load(text)
    return [refused.value, *refused.value.others]


def only_fault(load: Load, text: str) -> ConfigError:
    faults = all_faults(load, text)
    assert len(faults) == 1, [fault.public for fault in faults]
    return faults[0]


def replaced(old: str, new: str) -> str:
    assert MINIMAL.count(old) == 1
    return MINIMAL.replace(old, new)


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)
