"""Roles: named bundles of scopes, of the platform (troth.toml) or of one tenant (made at run time).

A tenant's own role stands before the platform's of the same name. What a person may is looked up at each use;
an access token that was minted with more than that is refused from the commit of the change on.
"""

import re
from collections.abc import Container, Iterable
from typing import Any
from uuid import UUID

import msgspec

from troth.access.scopes import IDENTITY
from troth.core.db import Database
from troth.core.names import PLATFORMS_OWN
from troth.core.scope import parse_scope

ROLE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?")
MAX_SCOPES = 200


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """`own`: made for the tenant. `version` counts its changes; `people` of the tenant hold it."""

    name: str
    own: bool
    scopes: tuple[str, ...]
    version: int
    people: int


def check_name(name: str) -> str:
    """Raises ValueError."""
    if not ROLE_NAME.fullmatch(name):
        raise ValueError("a role's name has 1 to 40 small letters, digits, hyphens and underscores")
    return name


def check_scopes(texts: tuple[str, ...], collections: Container[str]) -> tuple[str, ...]:
    """The scopes of a role, each once, in their normal form. Raises ValueError naming what is none."""
    if len(texts) > MAX_SCOPES:
        raise ValueError(f"a role has at most {MAX_SCOPES} scopes")
    return tuple(sorted({_normal(text, collections) for text in texts}))


def _normal(text: str, collections: Container[str]) -> str:
    if text in IDENTITY:
        raise ValueError(f"{text} is nothing that a role gives: it tells a client who signed in")
    scope = parse_scope(text)
    if not scope.administrative and scope.collection not in collections:
        raise ValueError(f"there is no collection {scope.collection!r}")
    return str(scope)


async def list_roles(owner: Database, tenant: UUID | None) -> tuple[Role, ...]:
    """The platform's roles and a tenant's own, as the operator sees them."""
    rows = await owner.fetch("select * from troth.roles_of($1)", tenant)
    return read_roles(rows)


async def put_role(owner: Database, tenant: UUID, name: str, scopes: tuple[str, ...]) -> None:
    """Make a tenant's role what it says here."""
    await owner.execute("select troth.put_role($1, $2, $3)", tenant, name, list(scopes), idempotent=False)


async def remove_role(owner: Database, tenant: UUID, name: str) -> bool:
    """Take a tenant's role away, from the people who hold it too. False when there is none."""
    return await owner.fetchval("select troth.remove_role($1, $2)", tenant, name, idempotent=False)


def read_roles(rows: Iterable[Any]) -> tuple[Role, ...]:
    """The rows of `troth.roles_of`, without what the platform's probes hold: that is nobody's to give."""
    return tuple(read_role(row) for row in rows if row["own"] or not row["name"].startswith(PLATFORMS_OWN))


def read_role(row: Any) -> Role:
    """A row of `troth.roles_of`."""
    return Role(
        name=row["name"],
        own=row["own"],
        scopes=tuple(row["scopes"]),
        version=row["version"],
        people=row["people"],
    )
