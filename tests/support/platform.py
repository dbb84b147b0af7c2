"""A whole platform for the journeys, started and stopped as a person does it."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import pytest_asyncio

from troth.core.db import Database
from troth.core.leader import DatabaseTarget
from troth.core.process import Endpoint
from troth.core.reach import PublicFace
from troth.core.state import State
from troth.data.roles import SUPERUSER
from troth.hosting import control, processes
from troth.hosting.ports import free_ports
from troth.hosting.processes import Process

TROTH = Path(sys.executable).with_name("troth")
EXAMPLE = Path(__file__).parents[2] / "examples" / "residents" / "troth.toml"


def example_text() -> str:
    """The example's `troth.toml`, fit to stand in another folder."""
    text = EXAMPLE.read_text().replace('"../', f'"{EXAMPLE.parents[1]}/')
    for key in ("folder", "schema", "logo"):
        text = text.replace(f'{key} = "', f'{key} = "{EXAMPLE.parent}/')
    return text


RESIDENTS, OWNERS = "residents.localhost", "owners.localhost"
ANNA, MARKUS = "anna.weber@lindenhof.example", "markus.brandt@lindenhof.example"
LEA, JONAS = "lea.hofmann@seeblick.example", "jonas.keller@seeblick.example"

_DOMAINS = {"lindenhof.example": ("lindenhof", RESIDENTS), "seeblick.example": ("seeblick", OWNERS)}
_GAP = 0.05
_STATUS_GAP = 0.25
"""Each status asks every member and opens a connection to the leader: asked all the time it is a load."""

_T = TypeVar("_T")


class Done(msgspec.Struct, frozen=True):
    """How one run of the command line ended."""

    status: int
    output: str
    errors: str


def troth(*arguments: str | Path, seconds: float = 240.0) -> Done:
    """Run the command line to its end."""
    done = subprocess.run(
        (TROTH, *arguments),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return Done(done.returncode, done.stdout, done.stderr)


async def until(
    look: Callable[[], Awaitable[_T]], holds: Callable[[_T], bool], *, seconds: float, what: str
) -> _T:
    """Look again and again until it holds; fails the test after so many seconds with what was seen last."""
    end = time.monotonic() + seconds
    while True:
        seen = await look()
        if holds(seen):
            return seen
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s, last seen: {seen}"
        await asyncio.sleep(_GAP)


class Troth:
    """One platform on one state folder."""

    network = "loopback"
    """Tests reach private ports from this machine's own network."""

    def __init__(self, root: Path, *, members: int) -> None:
        self.state = State(root)
        self.members = members
        self.https_port, self.http_port = free_ports(2)
        self.face = PublicFace(
            address="127.0.0.1",
            https_port=self.https_port,
            http_port=self.http_port,
            domains=(RESIDENTS, OWNERS),
            ca=self.state.public_ca,
        )

    def arguments(self, *, config: Path = EXAMPLE) -> tuple[str, ...]:
        """The options of `troth up` for this platform."""
        return (
            *("--config", str(config), "--state", str(self.state.root), "--members", str(self.members)),
            *("--https-port", str(self.https_port), "--http-port", str(self.http_port)),
            *("--network", self.network),
        )

    def up(self, *options: str) -> Done:
        """`troth up`, with `--detach` until it is ready."""
        return troth("up", *self.arguments(), *options)

    def down(self) -> Done:
        """`troth down`."""
        return troth("down", "--state", self.state.root)

    def origin(self, domain: str) -> str:
        """The origin of one of its domains."""
        return self.face.origin(domain)

    def password(self, email: str) -> str:
        """The random password of a demonstration user."""
        signins: dict[str, str] = json.loads(self.state.signins.read_text())
        return signins[f"{home_of(email)[0]}/{email}"]

    async def status(self) -> dict[str, Any]:
        """What the keeper says of itself now."""
        return await asyncio.to_thread(control.ask, self.state.control, {"do": "status"})

    async def factsheet(self) -> dict[str, dict[str, Any]]:
        """`troth factsheet --json` probed now: promise → its line."""
        done = await asyncio.to_thread(troth, "factsheet", "--json", "--state", str(self.state.root))
        sheet = json.loads(done.output)
        broken = any(line["verdict"] == "broken" for line in sheet["promises"])
        assert done.status == int(broken), done.errors
        return {line["id"]: line for line in sheet["promises"]}

    async def whole(self, *, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until every member follows, every instance is ready and the keeper knows no trouble."""
        end = time.monotonic() + seconds
        while lacks := self._lacks(status := await self.status()):
            late = f"not whole within {seconds:g} s: {'; '.join(lacks)}"
            assert time.monotonic() < end, late + self._last_words()
            await asyncio.sleep(_STATUS_GAP)
        return status

    def living(self) -> tuple[Process, ...]:
        """Every living process of this platform."""
        return processes.marked(processes.prefix(self.state.root))

    def process(self, name: str) -> Process:
        """The process that the keeper started under this name, seen from outside its PID namespace."""
        beginning = f"{self.state.root}|{name}|"
        found = [one for one in processes.everything() if processes.mark_of(one).startswith(beginning)]
        assert found, f"no process {name}"
        return min(found, key=lambda one: one.started)

    def postmaster(self, member: str) -> Process:
        """PostgreSQL's first process on a member. Patroni forks it twice, so it is no child of Patroni's."""
        below = processes.marked(f"{self.state.root}|{member}|")
        servers = {one.pid: one for one in below if _name(one) == "postgres"}
        (top,) = [one for one in servers.values() if one.parent not in servers]
        return top

    def database(self, role: str) -> DatabaseTarget:
        """How one of the database's roles reaches the leader, with the keeper's own certificate for it."""
        certificates = self.state.run / "certificates" / "database_clients"
        configurations = sorted(self.state.run.glob("member-*.patroni.json"))
        listening = [json.loads(file.read_text())["postgresql"]["listen"] for file in configurations]
        hosts = tuple(Endpoint("127.0.0.1", int(one.rpartition(":")[2])) for one in listening)
        authority = self.state.authorities / "database" / "ca.pem"
        return DatabaseTarget(
            hosts, role, authority, certificates / f"{role}.pem", certificates / f"{role}.key"
        )

    async def caught_up(self, superuser: Database) -> None:
        """Wait until every standby has written down and replayed what the leader has."""

        async def behind() -> int:
            return await superuser.fetchval(
                "select $1::int - count(*) from pg_stat_replication"
                " where replay_lsn >= pg_current_wal_flush_lsn()",
                self.members - 1,
            )

        await until(behind, lambda count: count == 0, seconds=30, what="the standbys have caught up")

    async def leader(self) -> str:
        """The member that leads."""
        return next(one["name"] for one in (await self.status())["members"] if one["role"] == "leader")

    def _lacks(self, status: dict[str, Any]) -> list[str]:
        """What there still is to wait for."""
        if "error" in status["members"]:
            return [f"members: {status['members']['error']}"]
        members: list[dict[str, Any]] = status["members"]
        instances: list[dict[str, Any]] = status["instances"]
        standbys = sum(one["role"] == "quorum_standby" and one["state"] == "streaming" for one in members)
        leads = any(one["role"] == "leader" and one["state"] == "running" for one in members)
        lacks = [] if status["ready"] else [f"{status['condition']}: {status['troubles']}"]
        if not leads or standbys != self.members - 1:
            lacks.append(", ".join(f"{one['name']} {one['role']} {one['state']}" for one in members))
        return lacks + [f"{one['name']} {one['phase']}" for one in instances if one["phase"] != "ready"]

    def _last_words(self) -> str:
        """The ends of the members' logs."""
        logs = sorted(self.state.root.rglob("member-*.log"))
        return "".join(f"\n{log.name}: …{log.read_text(errors='replace')[-1500:]}" for log in logs)


def home_of(email: str) -> tuple[str, str]:
    """Tenant and domain of a demonstration user."""
    return _DOMAINS[email.partition("@")[2]]


@contextmanager
def state_folder() -> Generator[Path]:
    """A short name for a state folder that does not exist yet: its sockets' names are limited (unix(7))."""
    folder = Path(tempfile.mkdtemp(prefix="troth-", dir="/tmp"))
    try:
        yield folder / "s"
    finally:
        shutil.rmtree(folder)


@contextmanager
def ended(running: Troth) -> Generator[None]:
    """Whatever happens inside the block, end the platform and make sure that nothing of it is left."""
    try:
        yield
    finally:
        present = running.living()
        done = running.down()
        left = [*processes.wait_until_gone(present, 0.0), *processes.leftovers(running.state.root)]
        processes.end(left)
    assert done.status == 0, done.errors
    assert not left, f"{len(left)} processes outlived troth down"


@pytest_asyncio.fixture
async def superuser(platform: "Troth") -> AsyncIterator[Database]:
    """The platform's database, as only its keeper can open it."""
    database = await Database.open(platform.database(SUPERUSER), max_size=1)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def platform() -> Iterator[Troth]:
    """One real platform with three database members for every journey of this run."""
    with state_folder() as root:
        running = Troth(root, members=3)
        with ended(running):
            done = running.up("--detach")
            assert done.status == 0, done.output + done.errors
            yield running


def _name(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except OSError:
        return ""


def was_backed_up(status: dict[str, Any]) -> bool:
    """Until then data.backups is unknown, and a drill proves nothing."""
    return status["backup_drills"]["last"] is not None
