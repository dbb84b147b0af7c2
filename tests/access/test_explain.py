"""The chain from a person to a row, and the first link that is missing."""

from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.access.explain import Application, Person, explain, lacking, parse_call
from troth.access.scopes import grant_for_client, scope_set
from troth.core.names import SESSION_CLIENT

ANNA = Person(
    id=uuid4(),
    name="anna@example.org",
    disabled=False,
    tenant_active=True,
    roles={"resident": ("tickets:read:own", "tickets:create:own:title,text"), "reader": ("news:read",)},
)
LEDGER = Application("ledger", ("tickets:read", "news:read"))
OWN_PAGES = Application(SESSION_CLIENT, None)
SOMEBODY = uuid4()
ID = UUID("019abcde-0000-7000-8000-000000000001")


def missing(explanation: object) -> str:
    links = getattr(explanation, "links", ())
    return next((link.what for link in links if not link.holds), "")


def test_an_allowed_call_has_every_link() -> None:
    found = explain(parse_call(f"GET /api/v1/tickets/{ID}"), ANNA, LEDGER, owner=ANNA.id)
    assert found.allowed
    assert [link.what for link in found.links] == [
        "The person",
        "The roles",
        "The client",
        "The token",
        "The row",
    ]
    assert found.links[3].says == "tickets:read:own"


@pytest.mark.parametrize(
    ("call", "changes", "application", "asked", "owner", "link", "hint"),
    [
        ("GET /api/v1/tickets", {"disabled": True}, LEDGER, (), None, "The person", "troth user enable"),
        ("GET /api/v1/tickets", {"tenant_active": False}, LEDGER, (), None, "The tenant", "resume"),
        ("DELETE /api/v1/tickets/{id}", {}, LEDGER, (), ANNA.id, "The roles", "tickets:delete"),
        ("GET /api/v1/tickets", {"roles": {}}, LEDGER, (), None, "The roles", "tickets:read"),
        ("POST /api/v1/tickets", {}, LEDGER, (), None, "The client", "Register ledger for tickets:create"),
        ("GET /api/v1/tickets", {}, None, (), None, "The client", "troth client list"),
        (
            "GET /api/v1/tickets",
            {},
            Application("ledger", LEDGER.scopes, True),
            (),
            None,
            "The client",
            "troth client enable",
        ),
        (
            "GET /api/v1/tickets",
            {},
            LEDGER,
            ("news:read",),
            None,
            "What was asked for",
            "ask for tickets:read",
        ),
        ("GET /api/v1/tickets/{id}", {}, LEDGER, (), SOMEBODY, "The row", "without `own`"),
        ("GET /api/v1/tickets/{id}", {}, LEDGER, (), None, "The row", "404"),
    ],
)
def test_the_first_missing_link_is_told_with_what_mends_it(
    call: str,
    changes: dict[str, object],
    application: Application | None,
    asked: tuple[str, ...],
    owner: UUID | None,
    link: str,
    hint: str,
) -> None:
    person = msgspec.structs.replace(ANNA, **changes)
    found = explain(parse_call(call.format(id=ID)), person, application, asked, owner)
    assert not found.allowed
    assert missing(found) == link
    assert hint in found.hint


def test_fields_that_role_and_client_do_not_share_leave_nothing() -> None:
    client = Application("ledger", ("tickets:create:own:urgency",))
    found = explain(parse_call("POST /api/v1/tickets"), ANNA, client)
    assert missing(found) == "The token"


def test_an_unknown_person_is_told_first() -> None:
    assert missing(explain(parse_call("GET /api/v1/tickets"), None, LEDGER)) == "The person"


def test_the_domains_own_application_may_do_what_its_person_may() -> None:
    assert explain(parse_call("POST /api/v1/tickets"), ANNA, OWN_PAGES).allowed


@pytest.mark.parametrize(
    "text", ["", "GET", "FETCH /api/v1/tickets", "GET /tickets", "GET /api/v1/tickets/1", "GET /api/v1/a/b/c"]
)
def test_what_is_no_call_of_the_api_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no call of the data API"):
        parse_call(text)


SCOPES = st.sets(
    st.sampled_from(["tickets:read", "tickets:read:own", "news:read", "tickets:create:own:title"])
)


@given(person=SCOPES, client=SCOPES)
def test_the_explanation_agrees_with_the_token_that_would_be_minted(
    person: set[str], client: set[str]
) -> None:
    anna = msgspec.structs.replace(ANNA, roles={"r": tuple(person)})
    found = explain(parse_call("GET /api/v1/tickets"), anna, Application("ledger", tuple(client)))
    granted = grant_for_client(scope_set(()), scope_set(client), scope_set(person))
    assert found.allowed == any(str(one).startswith("tickets:read") for one in granted.data)


@pytest.mark.parametrize(
    ("person", "client", "link"),
    [
        ((), ("tickets:read",), "person"),
        (("tickets:read",), (), "client"),
        (("tickets:read",), ("tickets:read:own",), "asked"),
        (("tickets:read",), None, "asked"),
        ((), None, "person"),
    ],
)
def test_what_lacked_a_scope_is_named(
    person: tuple[str, ...], client: tuple[str, ...] | None, link: str
) -> None:
    registered = None if client is None else scope_set(client)
    assert lacking("tickets:read", scope_set(person), registered) == link
