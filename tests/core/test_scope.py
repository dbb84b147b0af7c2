"""The grammar of scopes, at its edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.core.scope import ACTIONS, Scope, admin_scopes, parse_scope

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
SCOPES = st.one_of(
    st.builds(Scope, NAMES, st.sampled_from(ACTIONS), st.booleans()),
    st.builds(
        Scope,
        NAMES,
        st.sampled_from(ACTIONS[:3]),
        st.just(True),
        st.sets(NAMES, min_size=1, max_size=5).map(lambda names: tuple(sorted(names))),
    ),
)


@given(SCOPES)
def test_a_scope_that_is_written_reads_the_same(scope: Scope) -> None:
    assert parse_scope(str(scope)) == scope


def test_the_order_and_repetition_of_fields_do_not_matter() -> None:
    assert parse_scope("tickets:read:own:title,status,title") == parse_scope("tickets:read:own:status,title")
    assert parse_scope("tickets:read:own:title").fields == ("title",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tickets",
        "tickets:",
        "tickets:write",
        "tickets:READ",
        "Tickets:read",
        "tickets:read:",
        "tickets:read:all",
        "tickets:read:own:",
        "tickets:read:own:title,",
        "tickets:read:own:,title",
        "tickets:read:title",
        "tickets:read own",
        "tickets:read\n",
        "tickets:read:own:title:status",
        "tickets:delete:own:title",
        "tickets:*",
        "*:read",
        "1:read",
        "tickets:read:own:tıtle",
        "x" * 41 + ":read",
        "tickets:read:own:" + ",".join(["a"] * 65),
    ],
)
def test_text_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no scope|deleted whole"):
        parse_scope(text)


@pytest.mark.parametrize("text", admin_scopes())
def test_scopes_of_administration_are_read_as_they_are_written(text: str) -> None:
    scope = parse_scope(text)
    assert scope.administrative
    assert str(scope) == text


@pytest.mark.parametrize(
    "text",
    ["admin.users", "admin.users:own", "admin.users:read:own", "admin.users:delete", "admin.:read",
     "admin:read:x", "admin.users:read ", "admin.users:read,update", "Admin.users:read", "admin.users.x:read",
     "admin.tickets:read"],
)  # fmt: skip
def test_nothing_else_is_a_scope_of_administration(text: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        parse_scope(text)
