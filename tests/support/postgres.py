"""One real PostgreSQL for a test session: TLS 1.3, client certificates, our roles, our migrations.

Tests share it. None truncates anything: each takes a tenant of its own from `new_tenant`.
"""

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from uuid_utils.compat import uuid7

from troth.core.ca import Authority, Subject, write_leaf
from troth.core.clock import SystemClock
from troth.core.db import Database, DatabaseTarget
from troth.core.migrations import migrate
from troth.core.process import Endpoint
from troth.data.postgres import Binaries, find_binaries
from troth.data.roles import APP, AUDITOR, OWNER, SUPERUSER, bootstrap
from troth.hosting.ports import free_ports

_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
ssl = on
ssl_min_protocol_version = 'TLSv1.3'
ssl_ca_file = '{folder}/database_clients/ca.pem'
ssl_cert_file = '{folder}/server.pem'
ssl_key_file = '{folder}/server.key'
max_connections = 60
shared_buffers = '32MB'
log_line_prefix = '%m [%p] %u '
"""

_FORGETFUL = """
fsync = off
full_page_writes = off
synchronous_commit = off
"""
# A test database dies with the machine, so nothing has to reach its disk; what is measured has to.

_RULES = "hostssl all all 127.0.0.1/32 cert clientcert=verify-full\n"


class Tenant(msgspec.Struct, frozen=True):
    """A customer that one test has to itself."""

    id: UUID
    slug: str
    domain: str


class Server:
    """A running PostgreSQL, with a client certificate for each role that asks for one. A `durable` one waits
    for its disk at each commit."""

    def __init__(self, folder: Path, binaries: Binaries, *, durable: bool = False) -> None:
        self._settings = _SETTINGS if durable else _SETTINGS + _FORGETFUL
        self.folder = folder
        self.binaries = binaries
        self.endpoint = Endpoint("127.0.0.1", free_ports(1)[0])
        self._now = SystemClock().now()
        self._servers = Authority.open(folder, "database", now=self._now)
        self._clients = Authority.open(folder, "database_clients", now=self._now)
        self._process: subprocess.Popen[bytes] | None = None

    def target(self, role: str, database: str = "troth") -> DatabaseTarget:
        """How `role` connects."""
        folder = self.folder / "clients"
        folder.mkdir(mode=0o700, exist_ok=True)
        if not (folder / f"{role}.pem").exists():
            subject = Subject(common_name=role, usage="client")
            write_leaf(self._clients.issue(subject, now=self._now, lifetime=timedelta(days=1)), folder, role)
        return DatabaseTarget(
            hosts=(self.endpoint,),
            user=role,
            ca=self._servers.certificate_file,
            certificate=folder / f"{role}.pem",
            key=folder / f"{role}.key",
            database=database,
        )

    def initialise(self) -> None:
        """Make the database's files."""
        subject = Subject(common_name="postgres", usage="server")
        leaf = self._servers.issue(subject, now=self._now, lifetime=timedelta(days=1))
        write_leaf(leaf, self.folder, "server")
        run_to_end(
            self.binaries.program("initdb"),
            *("-D", str(self._data), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(self._settings.format(folder=self.folder) + f"port = {self.endpoint.port}\n")
        (self._data / "pg_hba.conf").write_text(_RULES)

    def start(self) -> None:
        """Start the server; `Database.open` waits for it."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*AS_OTHER_USER, *DIE_WITH_PARENT, self.binaries.program("postgres"), "-D", str(self._data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(30)
        self._process = None

    def pause(self) -> None:
        """Stop the server and all its children as if the machine hung."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _signal_all(self, how: signal.Signals) -> None:
        assert self._process is not None
        for pid in [self._process.pid, *children_of(self._process.pid)]:
            os.kill(pid, how)


AS_OTHER_USER = (
    ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--") if os.geteuid() == 0 else ()
)
"""PostgreSQL refuses to run as root; in a user namespace of its own it sees itself as nobody."""

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "INT", "--")
"""A test run that is killed leaves no server behind."""


def run_to_end(*argv: str) -> None:
    """Run a program of PostgreSQL's; its output is shown when it fails."""
    result = subprocess.run([*AS_OTHER_USER, *argv], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def new_tenant(owner: Database) -> Tenant:
    """A tenant with one client domain, unlike any other test's."""
    identifier, slug = uuid7(), f"t{secrets.token_hex(6)}"
    domain = f"{slug}.localhost"
    await owner.execute(
        "insert into troth.tenant (id, slug, name) values ($1, $2, $3)", identifier, slug, slug.upper()
    )
    await owner.execute(
        "insert into troth.domain (name, tenant_id, app, branding) values ($1, $2, 'app', '{}')",
        domain,
        identifier,
    )
    return Tenant(identifier, slug, domain)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[Server]:
    """A running server without our schema."""
    with tempfile.TemporaryDirectory(prefix="troth-postgres-") as folder:
        server = Server(Path(folder), find_binaries(None))
        server.initialise()
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
async def postgres(postgres_server: Server) -> Server:
    """The server with roles, schema and all migrations."""
    opened = await Database.open(postgres_server.target(SUPERUSER, "postgres"))
    await opened.close()
    await bootstrap(postgres_server.target(SUPERUSER, "postgres"))
    await migrate(postgres_server.target(OWNER))
    return postgres_server


@pytest.fixture(scope="session")
async def database(postgres: Server) -> AsyncGenerator[Database]:
    """As the web instances connect: row-level security is forced, nothing is owned."""
    opened = await Database.open(postgres.target(APP))
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def owner_database(postgres: Server) -> AsyncGenerator[Database]:
    """The schema's owner, to prepare rows."""
    opened = await Database.open(postgres.target(OWNER), max_size=4)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def auditor_database(postgres: Server) -> AsyncGenerator[Database]:
    """The probes' role: sees across tenants the columns that were granted to it."""
    opened = await Database.open(postgres.target(AUDITOR), max_size=4)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def superuser_database(postgres: Server) -> AsyncGenerator[Database]:
    """Sees everything; for tests that look behind row-level security."""
    opened = await Database.open(postgres.target(SUPERUSER), max_size=2)
    yield opened
    await opened.close()


@pytest.fixture
async def tenant(owner_database: Database) -> Tenant:
    """A fresh tenant for this test."""
    return await new_tenant(owner_database)
