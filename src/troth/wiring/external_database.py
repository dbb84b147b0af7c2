"""A replica set that runs elsewhere as a part of the platform: connected to, checked, migrated, reported on.

No member is started, stopped or commanded. The platform works as the schema's owner and the roles below it,
each with a certificate that was brought here; it is no superuser there.
"""

from pathlib import Path

from troth.core.config import Settings, find_line
from troth.core.errors import ConfigError, PlatformError
from troth.core.leader import LEADER_SECONDS, DatabaseTarget, SecureContext, wait_for_leader
from troth.core.migrations import migrate
from troth.core.process import Endpoint
from troth.core.promise import Finding
from troth.core.secret import read_secret
from troth.core.state import State
from troth.data.enrolment import authority_file, leaf_files
from troth.data.external import (
    SetView,
    judge_external,
    late_clocks,
    look,
    refusals,
    role_faults,
    statuses,
)
from troth.data.patroni import Command, MemberStatus, describe
from troth.data.postgres import Binaries
from troth.data.replicas import Member, ReplicaSet
from troth.data.roles import APP, AUDITOR, OWNER, REPLICATOR, SUPERUSER
from troth.hosting.plan import Step, Tell
from troth.wiring.database import DatabasePart
from troth.wiring.replicating import check_replication

NEEDED = (OWNER, APP, AUDITOR)
"""The roles whose certificates the platform cannot do without; for backups it needs the replicator's too."""


def check_external(settings: Settings) -> None:
    """What can be known of an external set before anything starts. Raises ConfigError."""
    for path, is_key in _files(settings):
        _check_file(settings, path, is_key=is_key)


def _files(settings: Settings) -> tuple[tuple[Path, bool], ...]:
    folder = settings.database.certificates
    assert folder is not None, "checked with the file"
    needed = NEEDED if settings.backup is None else (*NEEDED, REPLICATOR)
    leaves = [leaf_files(folder, role) for role in needed]
    return (
        (authority_file(folder, "database"), False),
        *((leaf.certificate, False) for leaf in leaves),
        *((leaf.key, True) for leaf in leaves),
    )


def _check_file(settings: Settings, path: Path, *, is_key: bool) -> None:
    try:
        if is_key:
            read_secret(path)
        else:
            path.read_bytes()
    except (OSError, PlatformError) as error:
        hint = error.hint if isinstance(error, PlatformError) and path.exists() else ""
        raise ConfigError(
            f"{path} {'can be read by others' if hint else 'cannot be read'}.",
            file=settings.file,
            line=find_line(settings.file, "database", "certificates"),
            key="database.certificates",
            hint=hint or "Bring a platform's bundle: troth member import FILE --into FOLDER",
        ) from None


class ExternalDatabase(DatabasePart):
    """A `DatabasePart` whose members are elsewhere: what concerns processes here finds none."""

    is_here = False

    def __init__(self, state: State, settings: Settings, binaries: Binaries) -> None:
        database = settings.database
        assert database.certificates is not None, "checked with the file"
        self._state = state
        self._backups = settings.backup is not None
        self._folder = database.certificates
        self._hosts = tuple(Endpoint.read(host) for host in database.hosts)
        self._places_of = dict(zip(database.hosts, database.regions, strict=True))
        self._processes = []
        self.before_stop = []
        self.remarks = {}
        self.replicas = self._describe(state, binaries)
        self.command = Command(self.replicas)

    def target(self, role: str) -> DatabaseTarget:
        """How to reach the leader as one of the database's roles."""
        files = leaf_files(self._folder, role)
        return DatabaseTarget(self._hosts, role, self.replicas.server_authority, files.certificate, files.key)

    def steps(self) -> tuple[Step, ...]:
        """Connected to and checked, then migrated."""
        return (
            Step(name="members", title="External database", start=self._connect),
            Step(name="schema", title="Schema", start=self._migrate, after=("members",)),
        )

    async def report(self) -> tuple[MemberStatus, ...]:
        """The members as they and their leader tell."""
        return statuses(await self._look())

    async def streaming(self) -> frozenset[str]:
        """The standbys whose confirmation the leader waits for."""
        found = statuses(await self._look())
        return frozenset(
            one.name for one in found if one.role == "quorum_standby" and one.state == "streaming"
        )

    def doing(self, name: str, state: str) -> str:
        """Nothing is done from here about a member that confirms nothing."""
        return f"is {state}" if state else "does not answer"

    async def judge_elsewhere(self) -> Finding:
        """The verdict of data.replicas."""
        return judge_external(await self._look(), self._places_of)

    async def troubles(self) -> tuple[str, ...]:
        """A sentence for each member that does not do its part."""
        view = await self._look()
        idle = tuple(f"{one.name} is {one.state}" for one in statuses(view) if not one.is_running)
        leaderless = () if view.leaders else ("the external database has no leader",)
        return (*leaderless, *idle, *late_clocks(view))

    async def renew_certificates(self) -> str:
        """They are brought from where their authority is; connections take up new ones by themselves."""
        return ""

    def ports(self) -> tuple[tuple[str, Endpoint], ...]:
        """None of them is here: PostgreSQL's own are `replicas.members`."""
        return ()

    async def _look(self) -> SetView:
        return await look(self.target(AUDITOR))

    async def _connect(self, tell: Tell) -> str:
        tell("looking for the leader")
        owner = self.target(OWNER)
        connection = await wait_for_leader(owner, SecureContext.of(owner), seconds=LEADER_SECONDS)
        try:
            faults = await role_faults(connection, backups=self._backups)
        finally:
            await connection.close(timeout=5)
        if faults:
            raise PlatformError(
                f"The external database is not prepared: {'; '.join(faults)}.",
                hint="Hosts of `troth member` do it themselves; elsewhere a superuser runs what "
                "`troth member roles` prints.",
            )
        view = await self._look()
        if found := refusals(view):
            raise PlatformError(
                f"The external database would lose acknowledged writes or is unfit: {'; '.join(found)}.",
                hint="Correct these settings there; see docs/several-hosts.md.",
            )
        if self._backups:
            tell("asking whether backups can be taken")
            await check_replication(self, self._state)
        return f"{describe(statuses(view))}, TLS 1.3"

    async def _migrate(self, _: Tell) -> str:
        applied = await migrate(self.target(OWNER))
        return f"{len(applied)} migrations applied" if applied else "up to date"

    def _describe(self, state: State, binaries: Binaries) -> ReplicaSet:
        """Only addresses and a client's certificates mean something here: folders and keys are elsewhere."""
        folder = self._folder
        return ReplicaSet(
            members=tuple(
                Member(
                    name=str(host),
                    postgres=host,
                    rest=host,
                    folder=state.members / str(host),
                    server=leaf_files(folder, "server"),
                )
                for host in self._hosts
            ),
            binaries=binaries,
            server_authority=authority_file(folder, "database"),
            client_authority=authority_file(folder, "database_clients"),
            consensus_authority=authority_file(folder, "consensus"),
            superuser=leaf_files(folder, SUPERUSER),
            replicator=leaf_files(folder, REPLICATOR),
            consensus_client=leaf_files(folder, "patroni"),
            consensus=(),
            run=state.run,
            logs=state.logs,
        )
