"""The audit trail on a real database: it is kept with its deed, and only ever grows."""

import json
from uuid import uuid4

import asyncpg
import pytest

from support.postgres import Tenant
from troth.core.audit import AuditEvent, record
from troth.core.db import Database


async def events(auditor: Database, domain: str) -> list[asyncpg.Record]:
    return await auditor.fetch("select * from troth.audit_event where domain = $1 order by at, id", domain)


async def test_an_event_is_kept_with_all_it_says(
    database: Database, auditor_database: Database, tenant: Tenant
) -> None:
    person = uuid4()
    event = AuditEvent(
        event="ticket.deleted",
        tenant=tenant.id,
        principal=person,
        domain=tenant.domain,
        request_id="r-1",
        detail={"document": "d-1", "version": 3, "own": True},
    )
    async with database.transaction() as connection:
        await record(connection, event)
    (row,) = await events(auditor_database, tenant.domain)
    assert (row["event"], row["tenant_id"], row["principal"]) == ("ticket.deleted", tenant.id, person)
    assert row["request_id"] == "r-1"
    assert row["at"] is not None
    assert json.loads(row["detail"]) == {"document": "d-1", "version": 3, "own": True}


async def test_an_event_goes_with_the_transaction_it_tells_of(
    database: Database, auditor_database: Database, tenant: Tenant
) -> None:
    with pytest.raises(RuntimeError, match="broke off"):
        async with database.transaction() as connection:
            await record(connection, AuditEvent(event="ticket.deleted", domain=tenant.domain))
            raise RuntimeError("broke off")
    assert await events(auditor_database, tenant.domain) == []


async def test_the_application_can_neither_read_nor_change_the_trail(
    database: Database, auditor_database: Database, tenant: Tenant
) -> None:
    await record(database, AuditEvent(event="ticket.deleted", domain=tenant.domain))
    for statement in (
        "select * from troth.audit_event",
        "delete from troth.audit_event",
        "update troth.audit_event set event = 'ticket.kept'",
        "truncate troth.audit_event",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute(statement)
    assert len(await events(auditor_database, tenant.domain)) == 1


async def test_a_long_text_from_outside_is_cut(
    database: Database, auditor_database: Database, tenant: Tenant
) -> None:
    long = "x" * 10_000
    event = AuditEvent(
        event="session.refused", domain=tenant.domain, request_id=long, detail={"reason": long}
    )
    await record(database, event)
    (row,) = await events(auditor_database, tenant.domain)
    assert len(row["request_id"]) == 200
    assert len(row["detail"]) < 300


@pytest.mark.parametrize(
    "name", ["password", "access_token", "client_secret", "email", "code", "display_name"]
)
def test_a_secret_or_a_name_does_not_get_into_the_trail(name: str) -> None:
    with pytest.raises(ValueError, match="does not belong"):
        AuditEvent(event="session.begun", detail={name: "x"})


@pytest.mark.parametrize("event", ["", "Session", "session", "session.", ".begun", "session begun", "a.b\n"])
def test_an_event_has_a_subject_and_a_deed(event: str) -> None:
    with pytest.raises(ValueError, match="no event"):
        AuditEvent(event=event)
