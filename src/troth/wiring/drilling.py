"""Real faults for drills, planted in the tenant made for probing, and what the last drills showed."""

import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from uuid_utils.compat import uuid7

from troth.assurance.drills import Drilled
from troth.core.db import Connection, Database
from troth.core.secret import write_public
from troth.core.state import State
from troth.wiring.declaration import PROBE_CALLBACK, PROBE_CLIENTS, PROBE_ROLE, PROBE_TENANT

DRILL_ROLE = "troth-drill"
"""The mark of whatever a drill plants; a drill that was cut short is mended by it, see `mend`."""


class PlantedDefects:
    """Each is there for as long as its block lasts. Works as the schema's owner."""

    def __init__(self, owner: Database) -> None:
        self._owner = owner

    @asynccontextmanager
    async def promote(self) -> AsyncGenerator[None]:
        """Everybody of the probes' tenant who has no role is given the member's."""
        await self._change(
            "update troth.person set roles = array[$1::text, $2::text] where roles = '{}'",
            PROBE_ROLE,
            DRILL_ROLE,
        )
        try:
            yield
        finally:
            await mend(self._owner)

    @asynccontextmanager
    async def register(self, redirect_uri: str) -> AsyncGenerator[None]:
        """The probes' client may be answered at another place too."""
        await self._change(
            "update troth.client set redirect_uris = redirect_uris || $2::text where id = $1",
            PROBE_CLIENTS[0],
            redirect_uri,
        )
        try:
            yield
        finally:
            await mend(self._owner)

    @asynccontextmanager
    async def weaken(self) -> AsyncGenerator[None]:
        """The bare SHA-256 of a random password, without a salt, for a person whom nobody can find."""
        digest = hashlib.sha256(secrets.token_bytes(32)).hexdigest()
        await self._change(
            "insert into troth.person (id, tenant_id, email_index, profile, password_hash, roles, disabled)"
            " values ($1, troth.context_tenant(), $2, '', $3, array[$4::text], true)",
            uuid7(),
            secrets.token_bytes(32),
            f"sha256${digest}",
            DRILL_ROLE,
        )
        try:
            yield
        finally:
            await mend(self._owner)

    async def _change(self, statement: str, *values: object) -> None:
        async with self._owner.transaction() as connection:
            await _enter(connection)
            await connection.execute(statement, *values)


async def mend(owner: Database) -> None:
    """Take away everything that a drill has planted. Also done before the probes' tenant is declared anew: a
    keeper that was killed in a drill leaves no fault behind."""
    async with owner.transaction() as connection:
        if not await _enter(connection):
            return
        await connection.execute("delete from troth.person where roles = array[$1::text]", DRILL_ROLE)
        await connection.execute("update troth.person set roles = '{}' where $1 = any (roles)", DRILL_ROLE)
        await connection.execute(
            "update troth.client set redirect_uris = array[$2::text]"
            " where id = $1 and redirect_uris <> array[$2::text]",
            PROBE_CLIENTS[0],
            PROBE_CALLBACK,
        )


async def _enter(connection: Connection) -> bool:
    """Whether the probes' tenant is there; the transaction is then in its context."""
    tenant = await connection.fetchval("select id from troth.tenant where slug = $1", PROBE_TENANT)
    await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant or ""))
    return tenant is not None


def read_drilled(state: State) -> tuple[Drilled, ...]:
    """The last drill of each promise."""
    if not state.drills.exists():
        return ()
    return msgspec.json.decode(state.drills.read_bytes(), type=tuple[Drilled, ...])


def keep_drilled(state: State, drilled: Drilled) -> None:
    """Keep this one in place of the last of the same promise."""
    others = [one for one in read_drilled(state) if one.promise != drilled.promise]
    write_public(state.drills, msgspec.json.encode([*others, drilled]))
