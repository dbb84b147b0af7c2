"""A real server, backed up into a real store, and brought back from nothing but the store and the key."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.backups import BackedUp, OwnServer
from support.postgres import Server
from support.rounds import in_many_rounds
from troth.core.errors import PlatformError
from troth.core.secret import Secret
from troth.data.backups.fetching import Objects
from troth.data.backups.manifest import WAL, Piece, segment_object
from troth.data.backups.planning import LogFile, Plan, plan_restore
from troth.data.backups.restoring import Restoring, Workplace, check_space
from troth.data.backups.scratch import Target
from troth.data.backups.vault import Vault
from troth.data.backups.wal import PAGE_BYTES, SEGMENT_BYTES, Segment
from troth.data.postgres import find_binaries
from troth.data.roles import bootstrap
from troth.data.stores.folder import FolderStore
from troth.data.stores.store import ObjectMissing
from troth.hosting import isolation, processes
from troth.hosting.programs import Programs


def _say_nothing(title: str, done: float) -> None:
    """Nobody watches."""


class Place:
    """One server with its store, and the places to restore into."""

    def __init__(self, folder: Path, source: BackedUp) -> None:
        self.folder = folder
        self.source = source
        self.store = folder / "store"
        self.programs = Programs(folder, isolation.inside(False))

    def objects(self) -> Objects:
        return Objects(self.source.store, self.source.key)

    def workplace(self, name: str) -> Workplace:
        sockets = self.folder / "r"
        sockets.mkdir(mode=0o700, exist_ok=True)
        return Workplace(
            root=self.folder / name,
            sockets=sockets,
            log=self.folder / f"{name}.log",
            binaries=find_binaries(None),
            durable=False,
        )

    async def plan(self, moment: datetime | None = None, *, until_gap: bool = False) -> Plan:
        catalogue = await self.objects().catalogue()
        return plan_restore(catalogue, await self.source.store.list(WAL), moment, until_gap=until_gap)

    async def rows(self, plan: Plan, name: str, target: Target | None = None) -> list[str]:
        """The notes of a restore, once the server has been brought to the target and has ended again."""
        restoring = Restoring(self.programs.start, self.objects(), self.workplace(name), _say_nothing)
        await restoring.bring(plan)
        recovery, _ = restoring.recovery(plan)
        await recovery.prepare()
        async with recovery.at(target or Target(moment=plan.moment)) as connection:
            found = await connection.fetch("select body from public.note order by id")
        assert not processes.leftovers(self.folder)
        return [row["body"] for row in found]

    def note(self, body: str) -> None:
        statement = f"insert into public.note (body) values ('{body}')"  # noqa: S608 - a test's own words
        self.source.query(statement, database="troth")

    def now(self) -> datetime:
        return datetime.fromisoformat(self.source.query("select clock_timestamp()")).astimezone(UTC)


@contextlib.asynccontextmanager
async def running() -> AsyncGenerator[Place]:
    with tempfile.TemporaryDirectory(prefix="troth-restore-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "server").mkdir(mode=0o700)
        server = Server(folder / "server", find_binaries(None), durable=True)
        store = await FolderStore.open(folder / "store")
        origin = OwnServer(server)
        source = BackedUp(origin, store, Secret(os.urandom(32)))
        origin.start()
        try:
            await bootstrap(server.target("postgres"))
            source.query("create table public.note (id bigserial primary key, body text)", database="troth")
            yield Place(folder, source)
        finally:
            server.stop()


@pytest.fixture(scope="module")
async def stored() -> AsyncGenerator[Place]:
    """One backup with log behind it; whoever spoils something does so in a copy of the store."""
    async with running() as place:
        place.note("one")
        await place.source.back_up()
        place.note("two")
        await place.source.ship()
        place.note("three")
        await place.source.ship()
        yield place


@pytest.fixture
async def copied(stored: Place, tmp_path: Path) -> Place:
    """The same server with a copy of its store."""
    shutil.copytree(stored.store, tmp_path / "store")
    copy = BackedUp(stored.source.origin, await FolderStore.open(tmp_path / "store"), stored.source.key)
    place = Place(stored.folder, copy)
    place.store = tmp_path / "store"
    return place


@pytest.fixture
async def place() -> AsyncGenerator[Place]:
    """A server of its own for this test."""
    async with running() as fresh:
        yield fresh


async def test_everything_up_to_the_last_piece_of_the_log_comes_back(place: Place) -> None:
    place.note("before")
    await place.source.back_up()
    place.note("after")
    await place.source.ship()
    place.note("newest")
    await place.source.ship_piece()
    place.note("never shipped")
    plan = await place.plan()
    assert await place.rows(plan, "one") == ["before", "after", "newest"]


async def test_increments_are_combined_and_a_moment_is_exact(place: Place) -> None:
    place.note("full")
    full = await place.source.back_up()
    place.note("increment")
    await place.source.back_up(full)
    place.note("in")
    moment = place.now()
    place.note("out")
    await place.source.ship()
    plan = await place.plan(moment)
    assert [one.kind for one in plan.chain] == ["full", "incremental"]
    assert await place.rows(plan, "one") == ["full", "increment", "in"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


LIES: dict[str, Callable[[Path], None]] = {"a flipped bit": flip, "cut short": cut, "gone": Path.unlink}


NOBODY_KNOWS = "There is no backup in the store"
"""Without its manifest a backup is none, and nothing names it."""

QUICK = {("a flipped bit", "base/*/data"), ("gone", "wal/*")}
SPOILED = [
    pytest.param(lie, what, marks=() if (lie, what) in QUICK else (pytest.mark.chaos, in_many_rounds))
    for what in ("base/*/data", "base/*/manifest", "wal/*")
    for lie in LIES
]


@pytest.mark.parametrize(("lie", "what"), SPOILED)
async def test_a_store_that_lies_is_found_out(copied: Place, lie: str, what: str) -> None:
    victims = sorted(copied.store.glob(what))
    victim = victims[-2] if what == "wal/*" else victims[0]
    LIES[lie](victim)
    with pytest.raises(PlatformError) as caught:
        await copied.rows(await copied.plan(), f"{lie} {what}".replace("*", "").replace("/", "-"))
    assert caught.value.hint
    said = NOBODY_KNOWS if (lie, what) == ("gone", "base/*/manifest") else victim.name
    assert said in caught.value.public
    assert not processes.leftovers(copied.folder)


@in_many_rounds
@pytest.mark.chaos
async def test_what_lies_before_a_missing_segment_can_be_had_on_request(copied: Place) -> None:
    victims = sorted(copied.store.glob("wal/*"))
    victims[-1].rename(victims[-1].with_name("000000010000000000000099"))
    plan = await copied.plan(until_gap=True)
    assert plan.log.lost == victims[-1].name
    assert await copied.rows(plan, "until-gap") == ["one", "two"]


async def test_a_download_that_was_cut_short_goes_on_where_it_was(copied: Place) -> None:
    plan = await copied.plan()
    place = copied.workplace("resumed")
    (file, *_) = plan.backup.files
    sealed = (copied.store / file.name).read_bytes()
    half = len(sealed) // 2
    await begin(copied, plan, "resumed")
    place.arriving(file).write_bytes(sealed[:half])
    starts: list[int] = []
    get = copied.source.store.get

    def noting(name: str, start: int = 0) -> AsyncIterator[bytes]:
        if name == file.name:
            starts.append(start)
        return get(name, start)

    copied.source.store.get = noting
    assert await copied.rows(plan, "resumed") == ["one", "two", "three"]
    assert starts == [half]
    assert not place.arriving(file).exists()


async def begin(place: Place, plan: Plan, name: str) -> None:
    """A restore that ends before the first byte has arrived."""

    def cut_off(title: str, done: float) -> None:
        raise ConnectionAbortedError

    restoring = Restoring(place.programs.start, place.objects(), place.workplace(name), cut_off)
    with contextlib.suppress(ConnectionAbortedError):
        await restoring.bring(plan)


async def test_a_piece_that_the_whole_segment_has_replaced_meanwhile_is_not_missed(tmp_path: Path) -> None:
    key, segment = Secret(os.urandom(32)), Segment(1, 7)
    store = await FolderStore.open(tmp_path / "store")
    vault, objects = Vault(store, key), Objects(store, key)
    planned = LogFile(segment=segment, pieces=(Piece(segment, PAGE_BYTES, 0),))
    with pytest.raises(ObjectMissing, match="partial"):
        await objects.segment(planned, tmp_path / "laid")
    whole = os.urandom(PAGE_BYTES) + bytes(SEGMENT_BYTES - PAGE_BYTES)
    await vault.put_bytes(segment_object(segment), whole)
    await objects.segment(planned, tmp_path / "laid")
    assert (tmp_path / "laid").read_bytes() == whole


async def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(copied: Place) -> None:
    plan = await copied.plan()
    with pytest.raises(PlatformError, match="this restore needs"):
        check_space(plan, copied.folder, plan.disk - 1)
    check_space(plan, copied.folder, plan.disk)
