"""The arithmetic of scopes: nothing is ever gained by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.errors import InvalidScope
from troth.access.scopes import (
    ScopeSet,
    asked_scopes,
    covers,
    grant_for_client,
    grant_for_session,
    includes,
    intersect,
    reduce_scopes,
    scope_set,
)
from troth.core.scope import ACTIONS, Scope

FIELDS = st.lists(st.sampled_from(["title", "text", "status"]), unique=True).map(
    lambda names: tuple(sorted(names))
)


@st.composite
def scopes(draw: st.DrawFn) -> Scope:
    action = draw(st.sampled_from(ACTIONS))
    own = draw(st.booleans())
    fields = draw(FIELDS) if own and action != "delete" else ()
    return Scope(draw(st.sampled_from(["tickets", "news"])), action, own, fields)


SETS = st.lists(scopes(), max_size=6)

# What a scope allows, spelled out: (collection, action, own row?, field).
Permission = tuple[str, str, bool, str]


def meaning(one: Scope) -> set[Permission]:
    fields = one.fields or ("title", "text", "status", "other")
    rows = (True,) if one.own else (True, False)
    return {(one.collection, one.action, row, field) for row in rows for field in fields}


def allowed(several: list[Scope] | tuple[Scope, ...]) -> set[Permission]:
    return {permission for one in several for permission in meaning(one)}


@given(SETS, SETS)
def test_an_intersection_allows_what_both_allow_and_nothing_else(
    left: list[Scope], right: list[Scope]
) -> None:
    assert allowed(intersect(left, right)) == allowed(left) & allowed(right)


@given(SETS)
def test_reducing_changes_no_meaning(several: list[Scope]) -> None:
    reduced = reduce_scopes(several)
    assert allowed(reduced) == allowed(several)
    assert reduce_scopes(reduced) == reduced


@given(scopes(), scopes())
def test_one_scope_includes_another_when_its_meaning_does(one: Scope, other: Scope) -> None:
    assert includes(one, other) == (meaning(other) <= meaning(one))


@given(SETS, SETS, SETS)
def test_a_grant_is_never_more_than_each_of_three(
    asked: list[Scope], client: list[Scope], person: list[Scope]
) -> None:
    wanted, most, may = (ScopeSet((), reduce_scopes(each)) for each in (asked, client, person))
    granted = allowed(grant_for_client(wanted, most, may).data)
    assert granted <= allowed(client) & allowed(person)
    assert not asked or granted <= allowed(asked)


@given(SETS)
def test_what_is_written_reads_the_same(several: list[Scope]) -> None:
    one = ScopeSet(("openid",), reduce_scopes(several))
    assert asked_scopes(str(one)) == one


def test_a_client_gets_an_identity_scope_only_when_registered_for_it() -> None:
    client, person = scope_set(["tickets:read"]), scope_set(["tickets:read"])
    granted = grant_for_client(asked_scopes("openid profile tickets:read"), client, person)
    assert granted.texts == ("openid", "tickets:read")


def test_a_client_that_asks_for_nothing_gets_what_it_was_registered_for() -> None:
    granted = grant_for_client(
        ScopeSet(), scope_set(["email", "tickets:read"]), scope_set(["tickets:read:own"])
    )
    assert granted.texts == ("email", "tickets:read:own")


def test_a_session_gets_what_the_person_may_or_less() -> None:
    person = scope_set(["tickets:read:own", "news:read"])
    assert [*map(str, grant_for_session(ScopeSet(), person))] == ["news:read", "tickets:read:own"]
    assert [*map(str, grant_for_session(scope_set(["tickets:read"]), person))] == ["tickets:read:own"]


def test_consent_covers_less_and_not_more() -> None:
    agreed = scope_set(["openid", "tickets:read:own:text,title"])
    assert covers(agreed, scope_set(["openid", "tickets:read:own:title"]))
    assert not covers(agreed, scope_set(["openid", "tickets:read:own"]))
    assert not covers(agreed, scope_set(["openid", "email"]))


@pytest.mark.parametrize("text", ["x", "tickets", "tickets:fly", " ", "tickets:read  openid", "a" * 10_000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidScope):
        asked_scopes(text)
