"""`keys.*`: a domain's key gets a successor, which is published before it signs."""

import pytest

from support.office import Operator
from support.postgres import new_tenant
from troth.core.db import Database
from troth.core.errors import UsageError


async def states(operator: Operator, domain: str) -> list[str]:
    return [one["state"] for one in (await operator("keys.list", domain=domain))["keys"]]


async def test_a_key_is_rotated_for_one_domain(operator: Operator, owner_database: Database) -> None:
    mine, other = await new_tenant(owner_database), await new_tenant(owner_database)
    assert await states(operator, mine.domain) == []
    await operator("keys.rotate", domain=mine.domain)
    assert await states(operator, mine.domain) == ["signs"]
    answer = await operator("keys.rotate", domain=mine.domain)
    assert answer == {"rotated": [mine.domain], "signs_in_seconds": 600}
    assert await states(operator, mine.domain) == ["next", "signs"]
    assert await states(operator, other.domain) == []


async def test_a_key_that_was_stolen_is_dropped(operator: Operator, owner_database: Database) -> None:
    tenant = await new_tenant(owner_database)
    await operator("keys.rotate", domain=tenant.domain)
    (before,) = (await operator("keys.list", domain=tenant.domain))["keys"]
    await operator("keys.rotate", domain=tenant.domain, compromised=True)
    (after,) = (await operator("keys.list", domain=tenant.domain))["keys"]
    assert after["state"] == "signs"
    assert after["kid"] != before["kid"]


async def test_an_unknown_domain_has_no_keys(operator: Operator) -> None:
    for verb in ("keys.list", "keys.rotate"):
        with pytest.raises(UsageError, match="no domain"):
            await operator(verb, domain="unknown.example")
