"""The trace of who did what, when and where.

An event is written through the connection of the deed it tells of, so that both are kept or neither is. The
table takes inserts alone; `detail` is stored unsealed, so it holds identifiers and never a secret or anything
about a person.
"""

import re
from typing import Protocol
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

Detail = dict[str, str | int | bool | None]

_EVENT = re.compile(r"[a-z]+(?:\.[a-z_]+)+")
_UNFIT = re.compile(r"password|secret|token|cookie|email|verifier|(?:^|_)(?:code|key|name)$")
_TEXT_LIMIT = 200


class Executor(Protocol):
    """A connection, or a `Database` when the event stands for itself."""

    async def execute(self, query: str, /, *args: object) -> str:
        """Run one statement."""
        ...


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One deed. `event` is `subject.deed` ("session.begun"); `principal` is the person or client that acted.

    Raises ValueError for an event of another form, and for a detail that by its name is a secret or personal:
    whoever reads the trace must not be able to use it.
    """

    event: str
    tenant: UUID | None = None
    principal: UUID | None = None
    domain: str | None = None
    request_id: str | None = None
    detail: Detail = {}

    def __post_init__(self) -> None:
        if not _EVENT.fullmatch(self.event):
            raise ValueError(f"{self.event!r} is no event; write subject.deed")
        for name in self.detail:
            if _UNFIT.search(name):
                raise ValueError(f"{name!r} does not belong into the audit trail")


async def record(connection: Executor, event: AuditEvent) -> None:
    """Append an event, in the transaction of `connection`; the database adds the time."""
    await connection.execute(
        "insert into troth.audit_event (id, tenant_id, event, principal, domain, request_id, detail)"
        " values ($1, $2, $3, $4, $5, $6, $7::jsonb)",
        uuid7(),
        event.tenant,
        event.event,
        event.principal,
        event.domain,
        _cut(event.request_id),
        msgspec.json.encode({name: _cut(value) for name, value in event.detail.items()}).decode(),
    )


def _cut(value: str | int | bool | None) -> str | int | bool | None:
    """What came from outside must not fill the disk."""
    return value[:_TEXT_LIMIT] if isinstance(value, str) else value
