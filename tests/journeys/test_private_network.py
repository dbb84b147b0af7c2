"""A whole platform with a private network of its own, on this very machine."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from support.http3 import connected
from support.network import address
from support.person import signed_in, ticket
from support.platform import ANNA, RESIDENTS, Troth, ended, example_text, state_folder, troth, until
from support.receiver import Receiver, running_receiver
from support.rounds import in_many_rounds, tell
from troth.core.errors import PlatformError
from troth.core.reach import Visitor
from troth.hosting import isolation, processes
from troth.hosting.firewall.nft import Nft
from troth.hosting.private_network.cable import EDGE_END, PRIVATE_END
from troth.hosting.private_network.possible import obstacle

WHY_NOT = obstacle(isolation.probe())

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(900),
    in_many_rounds,
    pytest.mark.skipif(bool(WHY_NOT), reason=f"no private network here: {WHY_NOT}"),
]

NOWHERE = address(9)


class Apart(Troth):
    """Not on loopback, as the other journeys."""

    network = "namespace"


@asynccontextmanager
async def apart(folder: Path) -> AsyncGenerator[tuple[Apart, Receiver, Path]]:
    """A platform of one member, not up yet, with a declared receiver on this machine."""
    async with running_receiver(folder) as receiver:
        config = folder / "troth.toml"
        text = example_text()
        lines = (
            "[alerts.targets.night]",
            f'webhook = "{receiver.url}"',
            f'secret_file = "{receiver.secret_file}"',
            f'ca = "{receiver.ca}"',
            'region = "IE"',
        )
        config.write_text(text + "\n" + "\n".join(lines) + "\n")
        with state_folder() as root:
            running = Apart(root, members=1)
            with ended(running):
                yield running, receiver, config


async def bring_up(running: Apart, config: Path) -> float:
    """Returns the seconds that it took."""
    began = time.monotonic()
    done = await asyncio.to_thread(troth, "up", *running.arguments(config=config), "--detach")
    assert done.status == 0, done.output + done.errors
    await running.whole()
    return time.monotonic() - began


def rules() -> str:
    """This machine's packet filter."""
    argv = (Nft.find().program, "list", "ruleset")
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def networks(among: Iterable[processes.Process]) -> set[str]:
    """What these processes stand in."""
    found: set[str] = set()
    for one in among:
        with suppress(OSError):
            found.add(str(Path(f"/proc/{one.pid}/ns/net").readlink()))
    return found


def is_gone(before: str, own: set[str]) -> bool:
    """Whether nothing of the private network is left on this machine."""
    cable = {PRIVATE_END, EDGE_END} & {name for _, name in socket.if_nameindex()}
    return not cable and rules() == before and not own & networks(processes.everything())


def reach_from(running: Apart, name: str, host: str, port: int) -> str:
    """How it goes to connect from the network of one of the platform's processes."""
    code = (
        "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('connected')"
    )
    there = ("nsenter", "--target", str(running.process(name).pid), "--net", "--", sys.executable, "-c", code)
    done = subprocess.run((*there, host, str(port)), capture_output=True, text=True, timeout=30, check=False)
    return "connected" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


async def private_ports(running: Apart) -> list[int]:
    """Of instances, of the database and of the edge's listener for applications."""
    status = await running.status()
    places = [one["endpoint"] for one in status["instances"]] + [status["edge"]["private"]]
    hosts = running.database("troth_app").hosts
    return [int(one.rpartition(":")[2]) for one in places] + [one.port for one in hosts]


async def comes_back(running: Apart, name: str) -> None:
    """A process is killed, and another one stands in its place and serves."""
    before = await pids(running)
    processes.send(running.process(name), signal.SIGKILL)

    async def stands() -> bool:
        if (await pids(running))[name] in (None, before[name]):
            return False
        with suppress(httpx.HTTPError):
            async with Visitor(running.face) as visitor:
                return (await visitor.request("GET", RESIDENTS, "/login")).status_code == 200
        return False

    await until(stands, bool, seconds=60, what=f"{name} has come back")
    await running.whole()


async def pids(running: Apart) -> dict[str, int | None]:
    return {one["name"]: one["pid"] for one in (await running.status())["processes"]}


async def survives_its_keeper(running: Apart) -> None:
    """The next keeper finds the cable, the rules, the relay and the edge as they are."""
    before = await pids(running)
    (keeper,) = [one for one in running.living() if command(one)[1:4] == [b"-I", b"-m", b"troth.platform"]]
    processes.send(keeper, signal.SIGKILL)

    async def taken_over() -> bool:
        with suppress(PlatformError):
            status = await running.status()
            return bool(status["ready"]) and status["taken_over"] > 0
        return False

    await until(taken_over, bool, seconds=120, what="another keeper has taken over")
    await running.whole()
    after = await pids(running)
    assert [after[name] for name in ("relay", "edge", "web-1")] == [
        before[name] for name in ("relay", "edge", "web-1")
    ]
    assert (await network_line(running))["verdict"] == "proved"


def command(process: processes.Process) -> list[bytes]:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


async def network_line(running: Apart) -> dict[str, str]:
    return (await running.factsheet())["hosting.network"]


async def test_a_platform_in_a_network_of_its_own_is_whole_and_reached_at_its_edge_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, outside = rules(), networks(filter(None, [processes.read(os.getpid())]))
    async with apart(tmp_path) as (running, receiver, config):
        seconds = await bring_up(running, config)
        async with signed_in(running, ANNA) as anna:
            assert (await anna.call("POST", "tickets", json=ticket("By the edge"))).status_code == 201
            assert "By the edge" in [one["title"] for one in await anna.all("tickets")]

        ports = await private_ports(running)
        assert len(ports) > 4
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=5)
        own = networks(running.living()) - outside
        assert len(own) == 2, "the private side's and the edge's"
        assert is_gone(before, set()), "nothing in this machine's network but the edge's sockets"

        async with connected(running.https_port, running.state.public_ca) as http3:
            assert await http3.get("/login") == 200, "over the socket that was handed in"
        sheet = await running.factsheet()
        for promise in ("hosting.network", "data.internal_tls", "data.https", "data.ciphers", "data.hsts"):
            assert sheet[promise]["verdict"] == "proved", sheet[promise]
        assert sheet["data.residency"]["verdict"] == "proved", sheet["data.residency"]

        async with asyncio.timeout(60):  # the test alert, to a declared place on this machine
            while not receiver.received:
                receiver.came.clear()
                await receiver.came.wait()
        with socket.create_server(("127.0.0.1", 0)) as undeclared:
            port = undeclared.getsockname()[1]
            for name in ("web-1", "edge"):
                assert "Connection refused" in reach_from(running, name, "127.0.0.1", port)
                assert "No route to host" in reach_from(running, name, NOWHERE, 443)

        state = running.state.root
        assert (await asyncio.to_thread(troth, "status", "--state", state)).status == 0
        backed_up = await asyncio.to_thread(troth, "backup", "now", "--state", state)
        assert backed_up.status == 0, backed_up.errors
        drilled = await asyncio.to_thread(troth, "drill", "hosting.network", "--json", "--state", state)
        (one,) = json.loads(drilled.output)["drills"]
        assert (one["before"], one["during"], one["after"]) == ("proved", "broken", "proved"), one

        # Somebody else leads a port out: no process of the platform's, and so not among its sockets.
        with socket.create_server(("127.0.0.1", ports[-1])):
            line = await network_line(running)
            assert (line["verdict"], str(ports[-1]) in line["evidence"]) == ("broken", True), line
        assert (await network_line(running))["verdict"] == "proved"

        await comes_back(running, "edge")
        async with signed_in(running, ANNA) as anna:
            assert len(await anna.all("tickets")) > 0
        await comes_back(running, "relay")
        assert (await network_line(running))["verdict"] == "proved"
        await survives_its_keeper(running)

        assert running.down().status == 0
        assert is_gone(before, own), "nothing is left after a stop"

        again = await bring_up(running, config)
        present, own = running.living(), networks(running.living()) - outside
        processes.send(running.process("first"), signal.SIGKILL)
        assert processes.wait_until_gone(present, 10.0) == ()

        async def left() -> bool:
            return is_gone(before, own)

        await until(left, bool, seconds=30, what="nothing is left after a kill")
    tell(
        capsys,
        f"a platform of one member in a network of its own: up in {seconds:.1f} s, again {again:.1f} s",
    )
