"""A detail says exactly what scopes say, in both directions, and is never more than each of three."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.errors import InvalidAuthorizationDetails
from troth.access.oauth.authorization_details import (
    MOST,
    Detail,
    grant_details,
    read_details,
    scopes_of,
    to_wire,
    wished_scopes,
    write_details,
)
from troth.access.scopes import intersect, reduce_scopes, scope_set

API = "https://portal.example/api/v1"
READ = {"type": "troth_data", "collection": "tickets", "actions": ["read"]}

SCOPES = st.lists(
    st.sampled_from(
        [
            "tickets:read",
            "tickets:read:own",
            "tickets:update:own:title,text",
            "tickets:create:own:title",
            "tickets:delete:own",
            "news:read",
        ]
    ),
    unique=True,
)


def read(*details: object) -> tuple[Detail, ...]:
    return read_details(json.dumps(details), API)


def test_each_action_is_a_scope() -> None:
    detail = {**READ, "actions": ["read", "update"], "own": True, "fields": ["title"]}
    assert [str(one) for one in wished_scopes(read(detail))] == [
        "tickets:read:own:title",
        "tickets:update:own:title",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}",
        "[]",
        "null",
        json.dumps([{**READ, "type": "payment"}]),
        json.dumps([{"type": "troth_data"}]),
        json.dumps([{**READ, "actions": []}]),
        json.dumps([{**READ, "actions": ["read", "read"]}]),
        json.dumps([{**READ, "actions": ["execute"]}]),
        json.dumps([{**READ, "actions": "read"}]),
        json.dumps([{**READ, "collection": "Tickets"}]),
        json.dumps([{**READ, "collection": "tickets:read tickets"}]),
        json.dumps([{**READ, "fields": ["title"]}]),
        json.dumps([{**READ, "own": True, "fields": ["ti,tle"]}]),
        json.dumps([{**READ, "own": True, "actions": ["delete"], "fields": ["title"]}]),
        json.dumps([{**READ, "own": "true"}]),
        json.dumps([{**READ, "privileges": ["admin"]}]),
        json.dumps([{**READ, "locations": ["https://elsewhere.example/api/v1"]}]),
        json.dumps([{**READ, "locations": [API, "https://elsewhere.example/api/v1"]}]),
        json.dumps([READ] * (MOST + 1)),
    ],
)
def test_what_is_no_detail_of_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidAuthorizationDetails):
        read_details(text, API)


def test_this_api_may_be_named() -> None:
    assert wished_scopes(read({**READ, "locations": [API]})) == wished_scopes(read(READ))


@given(SCOPES)
def test_what_is_written_reads_the_same(texts: list[str]) -> None:
    scopes = reduce_scopes(scope_set(texts).data)
    written = to_wire(write_details(scopes))
    assert all(detail["type"] == "troth_data" for detail in written)
    assert set(scopes_of(written)) == {str(scope) for scope in scopes}


@given(asked=SCOPES, client=SCOPES, person=SCOPES)
def test_a_detail_is_never_more_than_each_of_three(
    asked: list[str], client: list[str], person: list[str]
) -> None:
    details = write_details(scope_set(asked).data)
    granted = wished_scopes(grant_details(details, scope_set(client), scope_set(person)))
    wanted = intersect(intersect(scope_set(asked).data, scope_set(client).data), scope_set(person).data)
    assert set(granted) == set(wanted)


def test_a_detail_of_a_token_that_cannot_be_read_allows_nothing() -> None:
    assert scopes_of(({"type": "troth_data", "collection": "tickets", "actions": ["rule"]},)) == ()
    assert scopes_of(({"type": "payment"}, READ)) == ()
