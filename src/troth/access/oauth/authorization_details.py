"""Rich authorization requests (RFC 9396): one type, which says in JSON exactly what a scope says in words.

    {"type": "troth_data", "collection": "tickets", "actions": ["read", "update"], "own": true,
     "fields": ["title"], "locations": ["https://portal.example/api/v1"]}

Each action of a detail is one scope of `core/scope.py`; so a detail is granted, agreed to, enforced and
explained as scopes are, and there is nothing that it could say besides.
"""

from typing import Any, Literal

import msgspec

from troth.access.errors import InvalidAuthorizationDetails
from troth.access.scopes import ScopeSet, intersect, reduce_scopes
from troth.core.scope import ACTIONS, FIELD_NAME, Action, Scope, parse_scope

TYPE = "troth_data"
MOST = 20
"""Details in one request."""

Details = tuple[dict[str, Any], ...]
"""As they stand in requests, tokens and answers."""


class Detail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One detail. `own` and `fields` narrow it as in a scope; `locations` may name this API alone."""

    type: Literal["troth_data"]
    collection: str
    actions: tuple[Action, ...]
    own: bool = False
    fields: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()

    def scopes(self) -> tuple[Scope, ...]:
        """Raises ValueError when a part follows no grammar."""
        if not self.actions or len(set(self.actions)) != len(self.actions):
            raise ValueError("actions are needed, each once")
        if self.fields and (not self.own or "delete" in self.actions):
            raise ValueError("fields narrow what is the person's own, and a row is deleted whole")
        if not all(FIELD_NAME.fullmatch(field) for field in self.fields):
            # Joined by commas below, one name with a comma in it would read as two.
            raise ValueError("a field is not a name")
        return tuple(parse_scope(self._text(action)) for action in self.actions)

    def _text(self, action: Action) -> str:
        fields = f":{','.join(self.fields)}" if self.fields else ""
        return f"{self.collection}:{action}{':own' if self.own else ''}{fields}"


def read_details(text: str, audience: str) -> tuple[Detail, ...]:
    """The parameter of a request for the API at `audience`. Raises InvalidAuthorizationDetails."""
    try:
        details = msgspec.json.decode(text, type=tuple[Detail, ...], strict=True)
        if not details or len(details) > MOST:
            raise ValueError(f"there are 1 to {MOST} details")
        for detail in details:
            detail.scopes()
            if detail.locations not in ((), (audience,)):
                raise ValueError("locations can name this API alone")
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidAuthorizationDetails(
            f"authorization_details are not of the type {TYPE} as this API knows it", detail=str(error)[:200]
        ) from None
    return details


def wished_scopes(details: tuple[Detail, ...]) -> tuple[Scope, ...]:
    """All that is asked for, as scopes."""
    return reduce_scopes(scope for detail in details for scope in detail.scopes())


def grant_details(details: tuple[Detail, ...], client: ScopeSet, person: ScopeSet) -> tuple[Detail, ...]:
    """asked ∩ client ∩ person, in the form of details; what is left of none of them is left out."""
    granted = (
        scope
        for detail in details
        for scope in intersect(intersect(detail.scopes(), client.data), person.data)
    )
    return write_details(reduce_scopes(granted))


def write_details(scopes: tuple[Scope, ...]) -> tuple[Detail, ...]:
    """The details that say what these scopes say: one for each reach on each collection."""
    reaches: dict[tuple[str, bool, tuple[str, ...]], list[Action]] = {}
    for scope in scopes:
        reaches.setdefault((scope.collection, scope.own, scope.fields), []).append(scope.action)
    return tuple(
        Detail(
            type=TYPE,
            collection=collection,
            actions=tuple(action for action in ACTIONS if action in actions),
            own=own,
            fields=fields,
        )
        for (collection, own, fields), actions in reaches.items()
    )


def to_wire(details: tuple[Detail, ...]) -> Details:
    """As JSON objects, the type first."""
    return msgspec.convert(
        [{"type": detail.type, **msgspec.to_builtins(detail)} for detail in details], Details
    )


def scopes_of(details: Details) -> tuple[str, ...]:
    """What the details of a token allow, as scopes; one that cannot be read allows nothing."""
    try:
        read = msgspec.convert(details, tuple[Detail, ...])
        return tuple(str(scope) for scope in wished_scopes(read))
    except (msgspec.ValidationError, ValueError):
        return ()
