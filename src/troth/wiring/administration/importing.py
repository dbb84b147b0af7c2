"""`user.import`: people of another system, a batch at a time, and for each why they were not taken."""

import asyncio
import os
from contextlib import closing
from typing import Annotated
from uuid import UUID

import msgspec

from troth.access.accounts.foreign import Foreign, read_foreign
from troth.access.accounts.passwords import ROUNDS, Passwords
from troth.access.accounts.people import Profile, is_plausible, normal_email
from troth.access.accounts.registrar import NewPerson, Registrar
from troth.access.roles import ROLE_NAME
from troth.wiring.administration.office import Answer, Tools, Verb, tenant_of

MOST = 100
"""People in one batch: wrapping their hashes takes seconds, and the keeper works minutes on a request."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One person as the file has them. `line` is where, for the report."""

    line: int
    email: str
    name: str = ""
    roles: str = ""
    hash: str = ""
    scheme: str = ""
    salt: str = ""
    salt_encoding: str = ""
    email_verified: str = ""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Some rows. `dry_run` reads and checks them and does nothing."""

    tenant: str
    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=MOST)]
    dry_run: bool = False


class _Read(msgspec.Struct, frozen=True):
    """A row that can be taken."""

    row: Row
    new: NewPerson
    foreign: Foreign | None


async def _import(tools: Tools, asked: Batch) -> Answer:
    return await import_batch(
        Registrar(tools.owner, tools.sealer), await tenant_of(tools, asked.tenant), asked
    )


async def import_batch(registrar: Registrar, tenant: UUID, batch: Batch, *, rounds: int = ROUNDS) -> Answer:
    """1. Read every row; 2. pass over who is here; 3. wrap hashes; 4. add all that is left at once."""
    named = {role for row in batch.rows for role in row.roles.split()}
    sound = {role for role in named if ROLE_NAME.fullmatch(role)}
    unknown = (named - sound) | await registrar.unknown_roles(tenant, sorted(sound))
    readings = [_read(row, unknown) for row in batch.rows]
    rejected = [one for one in readings if isinstance(one, tuple)]
    read = [one for one in readings if isinstance(one, _Read)]
    known = await registrar.known(tenant, [one.row.email for one in read])
    fresh = {normal_email(one.row.email): one for one in reversed(read) if one.row.email not in known}
    if not batch.dry_run:
        added = await registrar.add(tenant, await _wrapped(list(fresh.values()), rounds)) if fresh else ()
    else:
        added = (True,) * len(fresh)
    return {
        "added": sum(added),
        "present": len(read) - sum(added),
        "rejected": [{"line": line, "reason": reason} for line, reason in rejected],
    }


def _read(row: Row, unknown: set[str]) -> _Read | tuple[int, str]:
    """What can be taken, or the line and why not. A reason never repeats a hash."""
    name = " ".join(row.name.split()) or row.email.partition("@")[0]
    if not is_plausible(row.email):
        return row.line, "this is no e-mail address"
    if len(name) > 120 or not name.isprintable():
        return row.line, "the name cannot be shown, or has more than 120 characters"
    if lacking := sorted(unknown & set(row.roles.split())):
        return row.line, f"there is no role {lacking[0][:60]!r}"
    if row.email_verified.lower() not in ("", "true", "false"):
        return row.line, "email_verified is true or false"
    try:
        foreign = (
            read_foreign(row.hash, row.scheme, row.salt, row.salt_encoding or "text") if row.hash else None
        )
    except ValueError as error:
        return row.line, str(error)
    new = NewPerson(
        profile=Profile(row.email, name),
        roles=tuple(sorted(set(row.roles.split()))),
        verified=row.email_verified.lower() == "true",
    )
    return _Read(row, new, foreign)


async def _wrapped(people: list[_Read], rounds: int) -> list[NewPerson]:
    """Each hash within PBKDF2. In threads of their own, at the lowest priority."""
    threads = max(1, (os.cpu_count() or 1) - 1)
    with closing(Passwords(threads=threads, waiting=2 * MOST, rounds=rounds)) as passwords:

        async def wrap(one: _Read) -> NewPerson:
            if one.foreign is None:
                return one.new
            return msgspec.structs.replace(one.new, password_hash=await passwords.wrap(one.foreign))

        return list(await asyncio.gather(*map(wrap, people)))


VERBS = (Verb("user.import", Batch, _import),)
