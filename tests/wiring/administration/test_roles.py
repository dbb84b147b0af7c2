"""`role.*`: a tenant's roles are made, changed and taken away at run time."""

from typing import Any

import pytest

from support.access import House, furnish
from support.office import Operator
from troth.core.errors import UsageError


async def own(operator: Operator, house: House) -> dict[str, Any]:
    answer = await operator("role.list", tenant=house.tenant.slug)
    return {one["name"]: one for one in answer["roles"] if one["of"] == "tenant"}


async def test_a_role_is_made_and_changed_and_taken_away(operator: Operator, house: House) -> None:
    slug = house.tenant.slug
    await operator("role.put", tenant=slug, name="caretaker", scopes=["tickets:read"], new=True)
    made = (await own(operator, house))["caretaker"]
    assert (made["scopes"], made["people"]) == (("tickets:read",), 0)
    changed = ["tickets:update:own:title,state", "admin.audit:read"]
    await operator("role.put", tenant=slug, name="caretaker", scopes=changed, new=False)
    seen = (await own(operator, house))["caretaker"]["scopes"]
    assert seen == ("admin.audit:read", "tickets:update:own:state,title")
    await operator("role.remove", tenant=slug, name="caretaker")
    assert "caretaker" not in await own(operator, house)


async def test_a_role_of_one_tenant_is_no_role_of_another(operator: Operator, house: House) -> None:
    other = await furnish(house.access)
    await operator("role.put", tenant=house.tenant.slug, name="mine", scopes=["tickets:read"], new=True)
    assert "mine" not in await own(operator, other)
    with pytest.raises(UsageError, match="has no role"):
        await operator("role.remove", tenant=other.tenant.slug, name="mine")


@pytest.mark.parametrize(
    ("name", "scopes", "new", "said"),
    [
        ("resident", ["tickets:read"], True, "has a role 'resident' already"),
        ("nobody", ["tickets:read"], False, "has no role of its own"),
        ("Big Role", ["tickets:read"], True, "small letters"),
        ("x", ["tickets"], True, "is no scope"),
        ("x", ["nowhere:read"], True, "no collection 'nowhere'"),
        ("x", ["openid"], True, "nothing that a role gives"),
        ("x", ["admin.audit:delete"], True, "there is none like it"),
        ("x", ["admin.everything:read"], True, "there is none like it"),
        ("x", ["admin.users:read:own"], True, "there is none like it"),
        ("x", ["tickets:read"] * 201, True, "at most 200"),
    ],
)
async def test_a_role_that_cannot_be_is_refused(
    operator: Operator, house: House, name: str, scopes: list[str], new: bool, said: str
) -> None:
    before = await own(operator, house)
    with pytest.raises(UsageError, match=said):
        await operator("role.put", tenant=house.tenant.slug, name=name, scopes=scopes, new=new)
    assert await own(operator, house) == before


async def test_a_role_that_is_gone_is_held_by_nobody(operator: Operator, house: House) -> None:
    slug = house.tenant.slug
    await operator("role.remove", tenant=slug, name="resident")
    await operator("role.put", tenant=slug, name="resident", scopes=["tickets:delete"], new=True)
    assert (await own(operator, house))["resident"]["people"] == 0
    session = (await house.begin()).session
    assert session.person_scopes == ()
