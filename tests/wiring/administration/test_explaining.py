"""`access.explain` reads what the database holds, and says what is missing with the next step."""

from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from support.access import CALLBACK
from support.office import Operator
from support.postgres import Server, Tenant, new_tenant
from troth.access.accounts.people import Accounts, Profile
from troth.core.db import Database
from troth.core.errors import UsageError
from troth.data.keys import KeyRing, Sealer, read_root_key

EMAIL = "explained@lindenhof.example"


@pytest.fixture
async def tenant(
    operator: Operator, postgres: Server, owner_database: Database, database: Database, tmp_path: Path
) -> Tenant:
    """A tenant whose keys the operator can open: a reader with the role `reader`, and the client `ledger`."""
    made = await new_tenant(owner_database)
    sealer = Sealer(KeyRing(database, read_root_key(tmp_path / "state" / "keys" / "root.key")))
    async with owner_database.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(made.id))
        await connection.execute(
            "insert into troth.role (tenant_id, name, scopes) values ($1, 'reader', '{tickets:read:own}')",
            made.id,
        )
        await connection.execute(
            "insert into troth.client (tenant_id, id, name, redirect_uris, scopes)"
            " values ($1, 'ledger', 'Ledger', $2, '{tickets:read,tickets:delete}')",
            made.id,
            [CALLBACK],
        )
    await Accounts(owner_database, sealer).add(made.id, Profile(EMAIL, "Anna"), ("reader",), None)
    return made


async def test_an_allowed_call_is_followed_to_its_rows(operator: Operator, tenant: Tenant) -> None:
    told = await operator(
        "access.explain", person=EMAIL, client="ledger", call="GET /api/v1/tickets", domain=tenant.domain
    )
    assert told["allowed"]
    assert [link["what"] for link in told["links"]] == [
        "The person",
        "The roles",
        "The client",
        "The token",
        "The rows",
    ]
    assert told["links"][-1]["says"] == "only the person's own"


async def test_the_missing_link_is_named(operator: Operator, tenant: Tenant) -> None:
    told = await operator(
        "access.explain", person=EMAIL, client="ledger", call="DELETE /api/v1/tickets", domain=tenant.domain
    )
    assert not told["allowed"]
    assert told["links"][-1] == {
        "what": "The roles",
        "says": "reader: without tickets:delete",
        "holds": False,
    }
    assert "tickets:delete" in told["hint"]


async def test_a_document_that_is_not_there_is_told(operator: Operator, tenant: Tenant) -> None:
    call = f"GET /api/v1/tickets/{uuid7()}"
    told = await operator("access.explain", person=EMAIL, client="session", call=call, domain=tenant.domain)
    assert told["links"][-1]["what"] == "The row"
    assert not told["allowed"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"call": "GET /tickets"}, "no call of the data API"),
        ({"domain": "unknown.example"}, "no client domain here"),
        ({"scope": ["nonsense"]}, "is no scope"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    operator: Operator, tenant: Tenant, changes: dict[str, object], said: str
) -> None:
    question = {"person": EMAIL, "client": "ledger", "call": "GET /api/v1/tickets", "domain": tenant.domain}
    with pytest.raises(UsageError, match=said):
        await operator("access.explain", **(question | changes))
