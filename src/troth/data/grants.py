"""What the scopes of a token allow on documents: whose rows, which fields; and the same for the database."""

from collections.abc import Iterable
from functools import lru_cache
from uuid import UUID

import msgspec

from troth.core.errors import Denied
from troth.core.scope import FIELD_NAME, Action, Scope, parse_scope


class Allowance(msgspec.Struct, frozen=True):
    """One action on one collection. `own`: the caller's rows only. `fields` None: all of them."""

    own: bool
    fields: frozenset[str] | None = None


class Grants:
    """The allowances of one token. `rows` is their form in the database's context (003_documents.sql)."""

    __slots__ = ("_allowed", "rows")

    def __init__(self, allowed: dict[tuple[str, Action], Allowance]) -> None:
        self._allowed = allowed
        self.rows = " ".join(
            word for key, allowance in sorted(allowed.items()) for word in _words(*key, allowance)
        )

    def __repr__(self) -> str:
        return f"Grants({self.rows})"

    def find(self, collection: str, action: Action) -> Allowance | None:
        return self._allowed.get((collection, action))

    def need(self, collection: str, action: Action) -> Allowance:
        """The allowance. Raises Denied naming the scope when there is none."""
        found = self._allowed.get((collection, action))
        if found is None:
            raise denied(collection, action)
        return found


def _words(collection: str, action: Action, allowance: Allowance) -> Iterable[str]:
    """The row-level policies compare the first; the second names the fields, see `troth.rights_cover`."""
    rows = f"{collection}:{action}:{'own' if allowance.own else 'any'}"
    yield rows
    if allowance.fields is not None:
        yield f"{rows}:{','.join(sorted(allowance.fields))}"


class Caller(msgspec.Struct, frozen=True):
    """On whose behalf a document is touched."""

    tenant: UUID
    person: UUID
    session: UUID
    grants: Grants


def denied(collection: str, action: Action, field: str = "") -> Denied:
    """The refusal that names the scope which would have allowed the call.

    A field name comes from the caller's body and goes into a header: one that no scope could name is
    left out.
    """
    if FIELD_NAME.fullmatch(field):
        return Denied(
            f"The access token does not allow {action} of the field {field}.",
            scope=f"{collection}:{action}:own:{field}",
        )
    return Denied(
        f"The access token does not allow {action} of {collection} here.", scope=f"{collection}:{action}"
    )


@lru_cache(maxsize=4096)
def read_grants(scopes: tuple[str, ...]) -> Grants:
    """The grants of a token's scopes. Scopes of other kinds (`openid`, `admin.…`) grant nothing here."""
    allowed: dict[tuple[str, Action], Allowance] = {}
    for scope in _parse(scopes):
        key = scope.collection, scope.action
        allowed[key] = _join(allowed.get(key), Allowance(scope.own, frozenset(scope.fields) or None))
    return Grants(allowed)


def _parse(scopes: Iterable[str]) -> Iterable[Scope]:
    for text in scopes:
        try:
            scope = parse_scope(text)
        except ValueError:
            continue
        if not scope.administrative:
            yield scope


def _join(one: Allowance | None, other: Allowance) -> Allowance:
    """What both together allow. Only `own` scopes can name fields, so `any` always means all fields."""
    if one is None or not other.own:
        return other
    if not one.own:
        return one
    if one.fields is None or other.fields is None:
        return Allowance(own=True)
    return Allowance(own=True, fields=one.fields | other.fields)
