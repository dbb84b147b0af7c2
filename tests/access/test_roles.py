"""A changed role counts at once: for new tokens, and for tokens that were minted before."""

from typing import cast
from uuid import UUID

import pytest

from support.access import RESIDENT, Access, House
from troth.access.accounts.registrar import Registrar
from troth.access.ports import Sealer
from troth.access.roles import put_role, read_roles, remove_role
from troth.core.db import Database
from troth.data.grants import read_grants

READ = "select outcome from troth.document_list($1, $2, $3, $4, 'tickets', null, false, 1)"


async def calls(house: House, session: UUID, *scopes: str) -> bool:
    """Whether a call with these scopes in its token is still let in."""
    rows = await house.access.database.fetch(
        READ, session, house.tenant.id, house.person, read_grants(scopes).rows
    )
    return [row["outcome"] for row in rows] != ["session_ended"]


async def change(house: House, *scopes: str) -> None:
    await put_role(house.access.owner, house.tenant.id, "resident", scopes)


async def settle(house: House) -> None:
    """As if the last change were long ago."""
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.tenant set rights_from = '-infinity' where id = $1", house.tenant.id
        )
        await connection.execute("update troth.person set rights_from = '-infinity'")


async def test_what_a_role_lost_is_lost_to_tokens_that_say_it(house: House) -> None:
    session = (await house.begin()).session.id
    assert await calls(house, session, *RESIDENT)
    await change(house, "tickets:read:own")
    assert not await calls(house, session, *RESIDENT)
    assert await calls(house, session, "tickets:read:own")


@pytest.mark.parametrize(
    ("token", "role", "still"),
    [
        ("tickets:read", "tickets:read", True),
        ("tickets:read", "tickets:read:own", False),
        ("tickets:read:own", "tickets:read", True),
        ("tickets:read:own", "tickets:read:own:title", False),
        ("tickets:read:own:title", "tickets:read:own", True),
        ("tickets:read:own:title", "tickets:read:own:text,title", True),
        ("tickets:read:own:text,title", "tickets:read:own:title", False),
        ("tickets:read:own:title", "tickets:update:own:title", False),
        ("tickets:read", "tickets_old:read", False),
    ],
)
async def test_a_token_is_held_against_what_the_role_says_now(
    house: House, token: str, role: str, still: bool
) -> None:
    session = (await house.begin()).session.id
    await change(house, role)  # in place of RESIDENT, which it lacks something of
    assert await calls(house, session, token) is still


async def test_fields_of_two_scopes_together_are_enough(house: House) -> None:
    session = (await house.begin()).session.id
    await change(house, "tickets:read:own:title", "tickets:read:own:text")
    assert await calls(house, session, "tickets:read:own:text,title")


async def test_a_person_who_loses_a_role_loses_it_at_once(house: House) -> None:
    session = (await house.begin()).session.id
    await settle(house)
    async with house.access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute("update troth.person set roles = '{}' where id = $1", house.person)
    assert not await calls(house, session, "tickets:read:own")


async def test_the_next_token_says_what_the_role_says_now(access: Access, house: House) -> None:
    begun = await house.begin()
    before = await access.tokens.for_session(house.domain, begun.session)
    await change(house, "tickets:read")
    now = await access.sessions.open(house.domain, begun.token)
    after = await access.tokens.for_session(house.domain, now)
    assert (before.scope != after.scope, after.scope) == (True, "tickets:read")
    assert await calls(house, now.id, *after.scope.split())


async def test_a_tenants_own_role_stands_before_the_platforms(house: House) -> None:
    async with house.access.owner.transaction() as connection:
        await connection.execute(
            "insert into troth.role (tenant_id, name, scopes) values (null, $1, '{tickets:delete}')",
            f"guest-{house.tenant.slug}",
        )
        await connection.execute("select set_config('troth.tenant', $1, true)", str(house.tenant.id))
        await connection.execute(
            "update troth.person set roles = array[$1::text]", f"guest-{house.tenant.slug}"
        )
    assert (await house.begin()).session.person_scopes == ("tickets:delete",)
    await put_role(house.access.owner, house.tenant.id, f"guest-{house.tenant.slug}", ("tickets:read",))
    assert (await house.begin()).session.person_scopes == ("tickets:read",)
    await remove_role(house.access.owner, house.tenant.id, f"guest-{house.tenant.slug}")
    assert (await house.begin()).session.person_scopes == ("tickets:delete",)


async def test_a_session_itself_goes_on(access: Access, house: House) -> None:
    begun = await house.begin()
    await change(house)
    assert (await access.sessions.open(house.domain, begun.token)).person_scopes == ()


async def test_what_administers_is_in_no_token_that_did_not_ask_for_it(access: Access, house: House) -> None:
    await change(house, "tickets:read", "admin.users:read", "admin.roles:update")
    session = (await house.begin()).session
    assert (await access.tokens.for_session(house.domain, session)).scope == "tickets:read"
    asked = await access.tokens.for_session(house.domain, session, ("admin.users:read", "admin.audit:read"))
    assert asked.scope == "admin.users:read"


class EveryRole:
    """A database in which each role that is asked about is one of the platform's."""

    async def fetchval(self, *_: object, **__: object) -> list[str]:
        return []


async def test_a_role_of_the_platforms_probes_is_not_shown_and_nobodys_to_give() -> None:
    row: dict[str, object] = {"own": False, "scopes": [], "version": 1, "people": 0}
    rows = [{"name": "manager", **row}, {"name": "troth-probe-member", **row}]
    assert [role.name for role in read_roles(rows)] == ["manager"]
    registrar = Registrar(cast("Database", EveryRole()), cast("Sealer", None))
    unknown = await registrar.unknown_roles(UUID(int=1), ["manager", "troth-probe-member"])
    assert unknown == {"troth-probe-member"}
