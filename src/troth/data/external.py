"""A replica set that does not run here: what its PostgreSQL tells over mutual TLS, and what that is worth.

Nothing is commanded. Each member is asked by itself, and the leader is asked who confirms its writes.
"""

import asyncio
import re
import time
from collections.abc import Mapping

import asyncpg
import msgspec

from troth.core.leader import CONNECT_SECONDS, DatabaseTarget, SecureContext, connect
from troth.core.process import Endpoint
from troth.core.promise import Finding
from troth.data.patroni import MemberStatus
from troth.data.postgres import MINIMUM_MAJOR
from troth.data.roles import AUDITOR, OWNER, REPLICATOR, ROLES

SKEW_SECONDS = 2.0
"""A clock further away than this: expiries in the database would be told by another time than ours."""

LEAST_MEMBERS = 3

_DURABLE = ("on", "remote_apply")
"""`synchronous_commit`: with any other setting a write may be acknowledged that no standby has on disk."""

_HOW_MANY = re.compile(r"\s*(?:any|first)?\s*(\d+)\s*\(", re.IGNORECASE)

_MEMBER = """
select not pg_is_in_recovery() as leads, current_setting('server_version_num')::int as version,
    coalesce(host(inet_server_addr()), '') as address,
    extract(epoch from clock_timestamp())::float8 as at,
    current_setting('synchronous_commit') as commit,
    current_setting('synchronous_standby_names') as confirming,
    current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on' as durable
"""

_STANDBYS = """
select application_name as name, coalesce(host(client_addr), '') as address, state,
    coalesce(sync_state, '') in ('sync', 'quorum') as confirms
from pg_stat_replication
"""
"""Without pg_read_all_stats the rows are there and `state` is null: then nothing is known."""

_ROLES = """
select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles
"""

_SCHEMA = "select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'troth'"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one member tells. `address` is where its server says it is; `skew` is its clock less ours, in
    seconds; `confirming` is `synchronous_standby_names`."""

    leads: bool
    version: int
    address: str
    skew: float
    commit: str
    confirming: str
    durable: bool


class Standby(msgspec.Struct, frozen=True):
    """A standby as the leader sees it. `state` is None when we may not know."""

    name: str
    address: str
    state: str | None
    confirms: bool


class SetView(msgspec.Struct, frozen=True):
    """The whole set: None for a member that does not answer; no standbys where there is no leader."""

    members: Mapping[str, Told | None]
    standbys: tuple[Standby, ...] = ()

    @property
    def leaders(self) -> tuple[str, ...]:
        return tuple(name for name, told in self.members.items() if told is not None and told.leads)

    @property
    def addresses(self) -> frozenset[str]:
        """Where the members that answer are."""
        return frozenset(told.address for told in self.members.values() if told is not None)

    @property
    def confirming(self) -> tuple[Standby, ...]:
        """The standbys whose confirmation the leader waits for."""
        return tuple(one for one in self.standbys if one.state == "streaming" and one.confirms)


async def look(auditor: DatabaseTarget) -> SetView:
    """Ask all members at once; one that does not answer within two seconds is told as silent."""
    context = SecureContext.of(auditor)
    found = await asyncio.gather(*(_ask(auditor, endpoint, context) for endpoint in auditor.hosts))
    members = {str(endpoint): one and one[0] for endpoint, one in zip(auditor.hosts, found, strict=True)}
    return SetView(members, next((one[1] for one in found if one is not None and one[0].leads), ()))


async def _ask(
    target: DatabaseTarget, endpoint: Endpoint, context: SecureContext
) -> tuple[Told, tuple[Standby, ...]] | None:
    try:
        connection = await connect(target, endpoint, context)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        context.problem = repr(error)
        return None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            before = time.time()
            row = await connection.fetchrow(_MEMBER)
            ours = (before + time.time()) / 2
            standbys = await connection.fetch(_STANDBYS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        context.problem = repr(error)
        return None
    finally:
        connection.terminate()
    assert row is not None
    values = dict(row)
    told = Told(skew=round(values.pop("at") - ours, 3), **values)
    return told, tuple(
        Standby(one["name"], one["address"], one["state"], one["confirms"]) for one in standbys
    )


def judge_external(view: SetView, places: Mapping[str, str]) -> Finding:
    """The verdict of data.replicas on an external set. `places` is where each member stands, as declared."""
    raw: dict[str, object] = {"members": msgspec.to_builtins(view)}
    silent = [name for name, told in view.members.items() if told is None]
    if len(view.leaders) != 1:
        said = f"There is not exactly one leader: {', '.join(view.leaders) or 'none answers'}."
        return Finding("broken", said, raw)
    faults = [*_durability(view), *_anybodies(view), *(f"{name} does not answer" for name in silent)]
    if len(view.members) < LEAST_MEMBERS:
        faults.append(f"{len(view.members)} of {LEAST_MEMBERS} members are known")
    if faults:
        return Finding("broken", f"External replica set: {'; '.join(faults)}.", raw)
    if any(one.state is None for one in view.standbys):
        said = f"Who confirms a write cannot be seen; as superuser: grant pg_read_all_stats to {AUDITOR}."
        return Finding("unknown", said, raw)
    if len(view.confirming) < LEAST_MEMBERS - 1:
        said = f"Fewer than two synchronous standbys stream: {_names(view.confirming) or 'none'}."
        return Finding("broken", said, raw)
    return Finding("proved", _sentence(view, places), raw)


def _sentence(view: SetView, places: Mapping[str, str]) -> str:
    count, regions = len(view.addresses), ", ".join(dict.fromkeys(places.values()))
    where = (
        f"at {count} addresses in {regions}, as declared; that these are {count} machines was not seen"
        if count > 1
        else "all at one address, so not redundant against its loss"
    )
    return (
        f"{len(view.members)} members that run elsewhere, leader {view.leaders[0]}, each write confirmed by "
        f"a quorum of {len(view.confirming)} synchronous standbys; {where}."
    )


def _names(standbys: tuple[Standby, ...]) -> str:
    return ", ".join(one.name or one.address for one in standbys)


def _durability(view: SetView) -> list[str]:
    """Settings that could lose an acknowledged write. A standby's count too: it may lead tomorrow."""
    faults: list[str] = []
    for name, told in view.members.items():
        if told is None:
            continue
        if told.commit not in _DURABLE:
            faults.append(f"{name} has synchronous_commit = {told.commit}")
        if not told.durable:
            faults.append(f"{name} has fsync or full_page_writes off")
        if told.leads and not told.confirming:
            faults.append(f"{name} waits for no standby (synchronous_standby_names is empty)")
    return faults


def _anybodies(view: SetView) -> list[str]:
    """Leaders that a write counts for once anybody has it who receives the log, as what keeps it for backups
    does. Patroni waits like that while no standby follows, so it is no reason to refuse the set."""
    return [
        f"whoever receives the log of {name} confirms (synchronous_standby_names is {told.confirming})"
        for name, told in view.members.items()
        if told is not None and told.leads and anybody_suffices(told.confirming)
    ]


def anybody_suffices(names: str) -> bool:
    """Pure: whether this `synchronous_standby_names` waits for a single one, whoever it is."""
    many = _HOW_MANY.match(names)
    return "*" in names and (many is None or int(many[1]) < 2)


def refusals(view: SetView) -> tuple[str, ...]:
    """Why this set must not be used, a sentence each. That a member is away is none: it may come back."""
    faults = [
        f"{name} is PostgreSQL {told.version // 10_000}; at least {MINIMUM_MAJOR} is needed"
        for name, told in view.members.items()
        if told is not None and told.version < MINIMUM_MAJOR * 10_000
    ]
    return (*faults, *_durability(view), *late_clocks(view))


def late_clocks(view: SetView) -> tuple[str, ...]:
    """A sentence for each clock that tells another time than ours."""
    return tuple(
        f"the clock of {name} is {abs(told.skew):.1f} s {'ahead of' if told.skew > 0 else 'behind'} ours"
        for name, told in view.members.items()
        if told is not None and abs(told.skew) > SKEW_SECONDS
    )


async def role_faults(
    owner: "asyncpg.Connection[asyncpg.Record]", *, backups: bool = False
) -> tuple[str, ...]:
    """What is wrong with the roles and the schema, a sentence each; with the replicator too where `backups`
    are to be taken."""
    found = {row["rolname"]: row for row in await owner.fetch(_ROLES)}
    needed = ROLES if backups else _WORKING
    faults = [fault for role in needed for fault in _role_fault(role, found.get(role))]
    if backups and REPLICATOR in found:
        rows = await owner.fetch(_BACKUP_RIGHTS, REPLICATOR, _RESTORE_POINT)
        faults += [f"{REPLICATOR} may not {row['what']}" for row in rows]
    schema = await owner.fetchval(_SCHEMA)
    if schema != OWNER:
        faults.append(
            "there is no schema troth" if schema is None else f"the schema troth belongs to {schema}"
        )
    return tuple(faults)


_WORKING = tuple(role for role in ROLES if "noreplication" in ROLES[role].split())
"""Without backups the replicator is the members' own."""

_RESTORE_POINT = "pg_create_restore_point(text)"
_BACKUP_RIGHTS = """
select what from (values
    ('connect to troth', has_database_privilege($1::name, 'troth', 'connect')),
    ('see the doings of members (pg_read_all_stats)', pg_has_role($1::name, 'pg_read_all_stats', 'usage')),
    ('read every table (pg_read_all_data)', pg_has_role($1::name, 'pg_read_all_data', 'usage')),
    ('hold writers off for a moment (pg_maintain)', pg_has_role($1::name, 'pg_maintain', 'usage')),
    ('make a restore point', has_function_privilege($1::name, $2::text, 'execute'))
) as needed (what, granted) where not granted
"""


def _role_fault(role: str, row: asyncpg.Record | None) -> list[str]:
    if row is None:
        return [f"there is no role {role}"]
    allowed = set(ROLES[role].split())
    return [
        f"{role} must be {right if right in allowed else f'no{right}'}"
        for right in ("superuser", "bypassrls", "createrole", "createdb", "replication")
        if row[f"rol{right.removesuffix('user') if right == 'superuser' else right}"] != (right in allowed)
    ]


def statuses(view: SetView) -> tuple[MemberStatus, ...]:
    """The members as `troth status` shows them. A standby is found by its address, as the leader sees it."""
    known = {one.address: one for one in view.standbys}
    return tuple(_status(name, told, known) for name, told in view.members.items())


def _status(name: str, told: Told | None, known: Mapping[str, Standby]) -> MemberStatus:
    if told is None:
        return MemberStatus(name=name, role="replica", state="silent")
    if told.leads:
        return MemberStatus(name=name, role="leader", state="running")
    standby = known.get(told.address)
    if standby is None:
        return MemberStatus(name=name, role="replica", state="not following")
    role = "quorum_standby" if standby.confirms else "replica"
    return MemberStatus(name=name, role=role, state=standby.state or "running")
