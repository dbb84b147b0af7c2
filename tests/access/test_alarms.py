"""A credential in the wrong hands is an alarm; an ordinary refusal is none."""

import pytest
from uuid_utils.compat import uuid7

from support.access import Access, House, furnish
from troth.access.alarms import MEANINGS, recent_alarms
from troth.access.errors import NoSession


async def count(access: Access, name: str) -> int:
    return {one.alarm: one.count for one in await recent_alarms(access.auditor)}.get(name, 0)


async def test_a_cookie_on_another_domain_raises_an_alarm_and_an_unknown_one_none(
    access: Access, house: House
) -> None:
    elsewhere, begun = await furnish(access), await house.begin()
    before = await count(access, "session.cookie_elsewhere")
    for token in (begun.token, "x" * 43):
        with pytest.raises(NoSession):
            await access.sessions.open(elsewhere.domain, token)
    assert await count(access, "session.cookie_elsewhere") == before + 1
    latest = (await recent_alarms(access.auditor))[0]
    assert (latest.alarm, latest.meaning) == (
        "session.cookie_elsewhere",
        MEANINGS["session.cookie_elsewhere"],
    )


async def test_an_alarm_that_concerns_no_tenant_is_told(access: Access) -> None:
    before = await count(access, "residency.undeclared")
    await access.owner.execute(
        "insert into troth.audit_event (id, event, detail) values ($1, 'residency.undeclared', '{}')", uuid7()
    )
    assert await count(access, "residency.undeclared") == before + 1


@pytest.mark.parametrize("event", MEANINGS)
async def test_every_alarm_is_told_for_a_week(access: Access, house: House, event: str) -> None:
    before = await count(access, event)
    async with access.database.transaction() as connection:
        await connection.execute(
            "select troth.record($1, $2, $3, $4, null)",
            event,
            house.tenant.id,
            house.person,
            house.domain.name,
        )
    assert await count(access, event) == before + 1
    others = await recent_alarms(access.auditor, probes=house.tenant.slug)
    assert {one.alarm: one.count for one in others}.get(event, 0) == before
