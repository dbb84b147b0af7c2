"""What a token may do: what was asked for ∩ what the client may ∩ what the person may.

Scopes about data follow core/scope.py; `openid`, `profile` and `email` tell the client who signed in (OpenID
Connect Core section 5.4) and open no data.
"""

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from troth.access.errors import InvalidScope
from troth.core.scope import Scope, parse_scope

OPENID = "openid"
IDENTITY: tuple[str, ...] = (OPENID, "profile", "email")
"""Scopes about the person who signs in."""

MAX_SCOPES = 100


class ScopeSet(msgspec.Struct, frozen=True):
    """Identity scopes in their usual order, data scopes in theirs, none of them inside another."""

    identity: tuple[str, ...] = ()
    data: tuple[Scope, ...] = ()

    def __str__(self) -> str:
        return " ".join(self.texts)

    def __bool__(self) -> bool:
        return bool(self.identity or self.data)

    @property
    def texts(self) -> tuple[str, ...]:
        """Each scope as it stands in a token."""
        return (*self.identity, *map(str, self.data))


def scope_set(texts: Iterable[str]) -> ScopeSet:
    """Read scopes. Raises ValueError on one that follows no grammar."""
    return _scope_set(tuple(texts))


@lru_cache(maxsize=1024)
def _scope_set(words: tuple[str, ...]) -> ScopeSet:
    identity = tuple(name for name in IDENTITY if name in words)
    return ScopeSet(identity, reduce_scopes(parse_scope(word) for word in words if word not in IDENTITY))


def asked_scopes(parameter: str) -> ScopeSet:
    """Read the parameter of a request (RFC 6749 section 3.3). Raises InvalidScope."""
    words = parameter.split(" ") if parameter else []
    if len(words) > MAX_SCOPES:
        raise InvalidScope("too many scopes")
    try:
        return scope_set(words)
    except ValueError as error:
        raise InvalidScope("a scope is not known here", detail=str(error)) from None


def intersect(left: Iterable[Scope], right: Iterable[Scope]) -> tuple[Scope, ...]:
    """What both allow. `own` wins over all rows, and named fields narrow each other down."""
    theirs = tuple(right)
    both = (_narrower(one, other) for one in left for other in theirs)
    return reduce_scopes(scope for scope in both if scope is not None)


def reduce_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Drop what another scope includes, and put the rest in order.

    Fields of two scopes with the same reach are not joined: each stays as its author wrote it.
    """
    distinct = sorted(set(scopes))
    return tuple(
        scope for scope in distinct if not any(includes(other, scope) for other in distinct if other != scope)
    )


def includes(wide: Scope, narrow: Scope) -> bool:
    """Whether all that `narrow` allows is allowed by `wide`."""
    if (wide.collection, wide.action) != (narrow.collection, narrow.action):
        return False
    if wide.own and not narrow.own:
        return False
    return not wide.fields or (bool(narrow.fields) and set(narrow.fields) <= set(wide.fields))


@lru_cache(maxsize=1024)
def grant_for_client(asked: ScopeSet, client: ScopeSet, person: ScopeSet) -> ScopeSet:
    """asked ∩ client ∩ person. Without an explicit wish, a client gets all it was registered for, save what
    administers the tenant: that is never given by default.

    `openid` needs no registration: it tells nothing but that the same person is back.
    """
    wished = asked or ScopeSet(client.identity, _documents(client.data))
    identity = tuple(name for name in wished.identity if name == OPENID or name in client.identity)
    return ScopeSet(identity, intersect(intersect(wished.data, client.data), person.data))


def grant_for_session(asked: ScopeSet, person: ScopeSet) -> tuple[Scope, ...]:
    """asked ∩ person, for the domain's own pages. When nothing is asked: everything the person may, save what
    administers the tenant."""
    return intersect(asked.data, person.data) if asked else _documents(person.data)


def _documents(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    return tuple(scope for scope in scopes if not scope.administrative)


def covers(agreed: ScopeSet, wanted: ScopeSet) -> bool:
    """Whether a consent that was given includes all that is wanted now."""
    if not set(wanted.identity) <= set(agreed.identity):
        return False
    return all(any(includes(given, scope) for given in agreed.data) for scope in wanted.data)


def _narrower(one: Scope, other: Scope) -> Scope | None:
    if (one.collection, one.action) != (other.collection, other.action):
        return None
    fields = _common_fields(one.fields, other.fields)
    if fields is None:
        return None
    # Fields are named only beside `own` in the grammar, and `own` of either side prevails.
    return Scope(one.collection, one.action, one.own or other.own, fields)


def _common_fields(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...] | None:
    """None when both name fields and share none."""
    if not one or not other:
        return one or other
    return tuple(sorted(set(one) & set(other))) or None
