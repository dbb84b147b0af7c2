"""A fleet: brought up whole, watched, and replaced without a gap."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.waiting import until
from troth.core.errors import PlatformError
from troth.core.process import Endpoint, ProcessSpec
from troth.hosting import isolation, processes
from troth.hosting.instance import Change, Phase, Prepared, Release, next_phase
from troth.hosting.instances import Fleet, replacement_order
from troth.hosting.ports import free_ports
from troth.hosting.supervisor import Supervisor

SERVER = """
import http.server, pathlib, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if pathlib.Path("sick").exists() else 200)
        self.end_headers()
    def log_message(self, *words): pass
if pathlib.Path("broken").exists(): sys.exit(9)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


async def answers(endpoint: Endpoint) -> bool:
    try:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except OSError:
        return False
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(2.0):
            return b" 200 " in await reader.readline()
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


class Hall:
    """A fleet of toys, and every balancing that the edge was told of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder, folder / "crashes", isolation.probe())
        self.balancings: list[tuple[Endpoint, ...]] = []
        self.edge_fails = False
        self.fleet = Fleet(
            "toy",
            2,
            release=Release(name="one", target="toy:app", folder=folder),
            supervisor=self.supervisor,
            prepare=self._prepare,
            is_ready=answers,
            rebalance=self._rebalance,
            start_seconds=10.0,
        )

    async def _prepare(self, slot: str, generation: int, release: Release) -> Prepared:
        endpoint = Endpoint("127.0.0.1", free_ports(1)[0])
        spec = ProcessSpec(
            name=slot,
            argv=(sys.executable, "-I", "-S", "-c", SERVER, str(endpoint.port)),
            environment={},
            folder=self.folder,
            log=self.folder / f"{slot}.log",
        )
        return Prepared(spec, endpoint)

    async def _rebalance(self) -> None:
        if self.edge_fails:
            raise PlatformError("The edge does not answer.")
        self.balancings.append(self.fleet.in_balancing())

    def phases(self) -> list[Phase]:
        return [view.phase for view in self.fleet.views()]


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncGenerator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.supervisor.hurry()
    await hall.fleet.stop()
    await hall.supervisor.stop_all()
    assert processes.marked(processes.prefix(tmp_path)) == ()


async def test_a_fleet_is_up_when_all_of_it_answers(hall: Hall) -> None:
    await hall.fleet.start()
    assert hall.phases() == ["ready", "ready"]
    assert [view.name for view in hall.fleet.views()] == ["toy-1", "toy-2"]
    assert all([await answers(endpoint) for endpoint in hall.fleet.in_balancing()])


async def test_an_instance_that_dies_comes_back_in_its_place(hall: Hall) -> None:
    await hall.fleet.start()
    both = hall.fleet.in_balancing()
    pid = hall.fleet.views()[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: hall.phases() == ["failed", "ready"])
    assert hall.fleet.in_balancing() == both, "the edge passes it by without being told"
    await until(lambda: hall.phases() == ["ready", "ready"])
    assert hall.balancings == []
    assert [view.restarts for view in hall.fleet.views()] == [1, 0]


async def test_a_replacement_takes_over_in_one_change_and_only_then_the_old_one_stops(hall: Hall) -> None:
    await hall.fleet.start()
    before = hall.fleet.in_balancing()
    await hall.fleet.replace_all()
    after = hall.fleet.in_balancing()
    assert set(before).isdisjoint(after)
    assert [len(balancing) for balancing in hall.balancings] == [2, 2]
    assert [view.generation for view in hall.fleet.views()] == [2, 2]
    assert not any([await answers(endpoint) for endpoint in before])


async def test_a_replacement_that_fails_leaves_the_old_ones_serving(hall: Hall) -> None:
    await hall.fleet.start()
    before = hall.fleet.in_balancing()
    (hall.folder / "broken").touch()
    with pytest.raises(PlatformError, match=r"toy-1 ended before it was ready \(left with status 9\)"):
        await hall.fleet.replace_all()
    assert hall.fleet.in_balancing() == before
    assert all([await answers(endpoint) for endpoint in before])
    assert hall.balancings == []


async def test_a_replacement_that_the_edge_does_not_follow_is_taken_back(hall: Hall) -> None:
    await hall.fleet.start()
    before = hall.fleet.in_balancing()
    hall.edge_fails = True
    with pytest.raises(PlatformError, match="edge"):
        await hall.fleet.replace_all()
    assert hall.fleet.in_balancing() == before
    assert [view.generation for view in hall.fleet.views()] == [1, 1]
    assert all([await answers(endpoint) for endpoint in before])


async def test_a_replacement_cut_short_leaves_no_third_instance(hall: Hall) -> None:
    await hall.fleet.start()
    before = hall.fleet.in_balancing()
    (hall.folder / "sick").touch()
    replacing = asyncio.create_task(hall.fleet.replace_all())
    await until(lambda: "starting" in hall.phases())
    replacing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await replacing
    assert hall.phases() == ["ready", "ready"]
    assert hall.fleet.in_balancing() == before


async def test_a_fleet_whose_instances_end_at_once_does_not_come_up(hall: Hall) -> None:
    (hall.folder / "broken").touch()
    with pytest.raises(PlatformError) as caught:
        await hall.fleet.start()
    assert "toy-" in caught.value.hint


async def test_a_sick_instance_is_suspect_until_it_answers_again(hall: Hall) -> None:
    await hall.fleet.start()
    both = hall.fleet.in_balancing()
    (hall.folder / "sick").touch()
    troubles = await hall.fleet.check()
    assert troubles == ("toy-1 is suspect", "toy-2 is suspect")
    assert hall.fleet.in_balancing() == both
    (hall.folder / "sick").unlink()
    assert await hall.fleet.check() == ()
    assert hall.phases() == ["ready", "ready"]


async def test_a_fleet_grows_and_shrinks_by_whole_instances(hall: Hall) -> None:
    await hall.fleet.start()
    await hall.fleet.resize(3)
    assert [view.name for view in hall.fleet.views()] == ["toy-1", "toy-2", "toy-3"]
    await hall.fleet.resize(1)
    assert [view.name for view in hall.fleet.views()] == ["toy-1"]
    assert await answers(hall.fleet.in_balancing()[0])


async def test_a_fleet_that_cannot_grow_keeps_what_it_has(hall: Hall) -> None:
    await hall.fleet.start()
    (hall.folder / "broken").touch()
    with pytest.raises(PlatformError, match="toy-3 ended before it was ready"):
        await hall.fleet.resize(3)
    assert hall.phases() == ["ready", "ready"]


async def test_a_new_release_stands_beside_the_old_one_until_it_is_let_in(hall: Hall) -> None:
    await hall.fleet.start()
    old = hall.fleet.instances
    two = Release(name="two", target="toy:app", folder=hall.folder)
    new = await hall.fleet.add(release=two, beside=old[0], held=True)
    assert new.endpoint not in hall.fleet.in_balancing()
    hall.fleet.admit(new)
    hall.fleet.hold(old[0])
    assert hall.fleet.in_balancing() == (old[1].endpoint, new.endpoint)
    hall.fleet.admit(old[0])
    await hall.fleet.retire(new)
    assert hall.fleet.in_balancing() == (old[0].endpoint, old[1].endpoint)
    assert [view.release for view in hall.fleet.views()] == ["one", "one"]


async def test_where_both_places_of_a_slot_are_taken_the_next_generation_takes_another_slot(
    hall: Hall,
) -> None:
    await hall.fleet.start()
    kept = hall.fleet.instances[0]
    second = await hall.fleet.add(beside=kept)
    third = await hall.fleet.add(beside=second)
    assert [(one.slot, one.generation) for one in (kept, second, third)] == [
        ("toy-1", 1),
        ("toy-1", 2),
        ("toy-3", 1),
    ]


async def test_every_change_of_an_instance_is_told(hall: Hall) -> None:
    told: list[Change] = []
    hall.fleet.watchers.append(told.append)
    new = await hall.fleet.add()
    hall.fleet.hold(new)
    await hall.fleet.retire(new)
    assert [(one.before, one.phase, one.held) for one in told] == [
        ("starting", "starting", False),
        ("starting", "ready", False),
        ("ready", "ready", True),
        ("ready", "draining", True),
        ("draining", "stopped", True),
    ]


@pytest.mark.parametrize(
    ("phase", "event", "expected"),
    [
        ("starting", "answered", "ready"),
        ("ready", "silent", "suspect"),
        ("suspect", "answered", "ready"),
        ("ready", "exited", "failed"),
        ("failed", "silent", "failed"),
        ("draining", "answered", "draining"),
        ("draining", "exited", "stopped"),
        ("ready", "ended", "stopped"),
    ],
)
def test_where_an_event_leads(phase: Phase, event: object, expected: Phase) -> None:
    assert next_phase(phase, event) == expected  # pyright: ignore[reportArgumentType]


def test_what_serves_nobody_is_replaced_first() -> None:
    assert replacement_order({"a-1": "ready", "a-2": "suspect", "a-3": "failed"}) == ("a-3", "a-1", "a-2")
