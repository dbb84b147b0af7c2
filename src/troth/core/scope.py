"""The grammar of scopes: `collection:action[:own[:field,field]]`.

The same text stands in a role, a client's registration, a consent page, a token and a row-level policy.
Colons and commas are legal in an OAuth scope token (RFC 6749 section 3.3); a space separates scopes.
"""

import re
from typing import Literal, cast

import msgspec

Action = Literal["create", "read", "update", "delete"]

ACTIONS: tuple[Action, ...] = ("create", "read", "update", "delete")

COLLECTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")

_SCOPE = re.compile(
    rf"(?P<collection>{COLLECTION_NAME.pattern}):(?P<action>{'|'.join(ACTIONS)})"
    rf"(?P<own>:own(?::(?P<fields>{FIELD_NAME.pattern}(?:,{FIELD_NAME.pattern}){{0,63}}))?)?"
)


class Scope(msgspec.Struct, frozen=True, order=True):
    """One permission: an action on a collection, on everybody's rows or on `own` ones, on all fields or on
    `fields` (empty means all)."""

    collection: str
    action: Action
    own: bool = False
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        own = ":own" if self.own else ""
        fields = f":{','.join(self.fields)}" if self.fields else ""
        return f"{self.collection}:{self.action}{own}{fields}"


def parse_scope(text: str) -> Scope:
    """Read one scope. Raises ValueError with a sentence when it does not follow the grammar.

    Fields are put in order and duplicates dropped, so that equal scopes compare equal.
    """
    match = _SCOPE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:100]!r} is no scope; write collection:action[:own[:field,field]]")
    action = cast("Action", match["action"])
    fields = tuple(sorted(set((match["fields"] or "").split(",")) - {""}))
    if fields and action == "delete":
        raise ValueError(f"{text[:100]!r} names fields, but a row is deleted whole")
    return Scope(match["collection"], action, match["own"] is not None, fields)
