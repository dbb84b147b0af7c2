"""Certificates of three minutes are renewed on every hop while people work: no request of theirs fails."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest

from support.load import new_titles
from support.person import Person, signed_in, ticket
from support.platform import ANNA, EXAMPLE, Troth, ended, state_folder, troth, until
from support.rounds import in_many_rounds, tell
from troth.core.ca import read_certificate
from troth.core.db import Database
from troth.data.roles import SUPERUSER

RENEWALS = 1
READERS = 4

HELD = ("callers/edge", "callers/keeper", "database_clients/troth_app", "database_clients/replicator",
        "database/member-1", "consensus/etcd", "consensus/patroni", "public/residents.localhost")  # fmt: skip


class Outcomes:
    """What became of each request. One that ended without a byte of answer is asked once more, as every
    browser does (RFC 9112, section 9.3.1), and counted."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.repeated = 0
        self.failures: list[str] = []

    async def ask(self, person: Person, method: str, path: str, **request: str | dict[str, object]) -> None:
        """Ask and count."""
        for again in (True, False):
            try:
                answer = await person.call(method, path, **request)  # type: ignore[arg-type] # pyright: ignore
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ConnectError) as error:
                if not again:
                    self.failures.append(repr(error))
                self.repeated += 1
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code >= 400:
                self.failures.append(f"{method} {answer.status_code} {answer.text[:200]}")
            return


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_renewal_under_load_fails_no_request_and_no_connection_outlives_its_certificate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with state_folder() as root:
        running = Troth(root, members=3)
        with ended(running):
            done = await asyncio.to_thread(
                troth, "up", *running.arguments(config=of_three_minutes(root.parent)), "--detach"
            )
            assert done.status == 0, done.output + done.errors
            outcomes = await work_through_renewals(running)
            old = await until(
                lambda: outlived(running), lambda count: count == 0, seconds=30, what="old ones are ended"
            )
            status = await running.whole(seconds=120)
    assert old == 0
    assert outcomes.failures == []
    assert set(outcomes.statuses) <= {200, 201}
    assert not [one for one in status["duties"] if one["name"] == "certificates" and one["failed"]]
    tell(
        capsys,
        f"{RENEWALS} renewals of every certificate under load: {outcomes.statuses.total()} requests, "
        f"0 failed, {outcomes.repeated} repeated on another connection",
    )


async def work_through_renewals(running: Troth) -> Outcomes:
    """Read and write until every certificate has been renewed so often."""
    outcomes, stop = Outcomes(), asyncio.Event()
    async with signed_in(running, ANNA) as anna:

        async def read() -> None:
            while not stop.is_set():
                await outcomes.ask(anna, "GET", "tickets?limit=5")
                await asyncio.sleep(0.02)

        async def write() -> None:
            while not stop.is_set():
                (title,) = new_titles(1)
                await outcomes.ask(anna, "POST", "tickets", json=ticket(title), key=title)
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(one()) for one in (*(read,) * READERS, write)]
        seen: dict[str, set[int]] = {name: set() for name in HELD}
        began = asyncio.get_running_loop().time()
        while any(len(serials) <= RENEWALS for serials in seen.values()):
            for name, serials in seen.items():
                serials.add(serial(running, name))
            elapsed = asyncio.get_running_loop().time() - began
            assert elapsed < 360, {name: len(serials) for name, serials in seen.items()}
            await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*tasks)
    return outcomes


async def outlived(running: Troth) -> int:
    """Connections to the leader whose certificate is not the one that its role holds now or held before."""
    database = await Database.open(running.database(SUPERUSER), max_size=1)
    try:
        rows = await database.fetch(
            "select usename, backend_start < now() - interval '210 seconds' as old"
            " from pg_stat_activity join pg_stat_ssl using (pid) where client_serial is not null"
        )
    finally:
        await database.close()
    return sum(row["old"] for row in rows)


def serial(running: Troth, name: str) -> int:
    file = running.state.run / "certificates" / f"{name}.pem"
    return read_certificate(file.read_bytes()).serial


def of_three_minutes(folder: Path) -> Path:
    """The example with certificates of three minutes."""
    place = folder / "example"
    shutil.copytree(EXAMPLE.parent, place)
    config = place / EXAMPLE.name
    text = config.read_text()
    config.write_text(text.replace("lifetime_minutes = 1440", "lifetime_minutes = 3"))
    assert "lifetime_minutes = 3\n" in config.read_text()
    return config
