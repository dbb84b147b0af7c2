"""The grammar of scopes: `collection:action[:own[:field,field]]`, and `admin.area:action`.

The same text stands in a role, a client's registration, a consent page, a token and a row-level policy.
Colons and commas are legal in an OAuth scope token (RFC 6749 section 3.3); a space separates scopes.
"""

import re
from typing import Literal, cast

import msgspec

Action = Literal["create", "read", "update", "delete"]

ACTIONS: tuple[Action, ...] = ("create", "read", "update", "delete")

COLLECTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

ADMIN = "admin."
AREAS: dict[str, tuple[Action, ...]] = {
    "users": ("create", "read", "update"),
    "roles": ("create", "read", "update", "delete"),
    "clients": ("create", "read", "update", "delete"),
    "domains": ("create", "read", "update", "delete"),
    "sessions": ("read", "delete"),
    "settings": ("read", "update"),
    "audit": ("read",),
}
"""What can be administered through the API, and how. No collection can have a name with a full stop in it."""

FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")

_SCOPE = re.compile(
    rf"(?P<collection>{COLLECTION_NAME.pattern}):(?P<action>{'|'.join(ACTIONS)})"
    rf"(?P<own>:own(?::(?P<fields>{FIELD_NAME.pattern}(?:,{FIELD_NAME.pattern}){{0,63}}))?)?"
)


_ADMINISTRATIVE = re.compile(rf"admin\.(?P<area>{'|'.join(AREAS)}):(?P<action>{'|'.join(ACTIONS)})")


class Scope(msgspec.Struct, frozen=True, order=True):
    """One permission: an action on a collection, on everybody's rows or on `own` ones, on all fields or on
    `fields` (empty means all)."""

    collection: str
    action: Action
    own: bool = False
    fields: tuple[str, ...] = ()

    @property
    def administrative(self) -> bool:
        """Whether it is about running the tenant, not about its documents."""
        return self.collection.startswith(ADMIN)

    def __str__(self) -> str:
        own = ":own" if self.own else ""
        fields = f":{','.join(self.fields)}" if self.fields else ""
        return f"{self.collection}:{self.action}{own}{fields}"


def parse_scope(text: str) -> Scope:
    """Read one scope. Raises ValueError with a sentence when it does not follow the grammar.

    Fields are put in order and duplicates dropped, so that equal scopes compare equal.
    """
    if text.startswith(ADMIN):
        return _administrative(text)
    match = _SCOPE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:100]!r} is no scope; write collection:action[:own[:field,field]]")
    action = cast("Action", match["action"])
    fields = tuple(sorted(set((match["fields"] or "").split(",")) - {""}))
    if fields and action == "delete":
        raise ValueError(f"{text[:100]!r} names fields, but a row is deleted whole")
    return Scope(match["collection"], action, match["own"] is not None, fields)


def _administrative(text: str) -> Scope:
    match = _ADMINISTRATIVE.fullmatch(text)
    if match is None or match["action"] not in AREAS[match["area"]]:
        raise ValueError(
            f"{text[:100]!r} is no scope; there is none like it among {', '.join(admin_scopes())}"
        )
    return Scope(f"{ADMIN}{match['area']}", cast("Action", match["action"]))


def admin_scopes() -> tuple[str, ...]:
    """Every scope of administration."""
    return tuple(f"{ADMIN}{area}:{action}" for area, actions in AREAS.items() for action in actions)
