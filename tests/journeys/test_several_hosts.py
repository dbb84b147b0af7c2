"""The whole platform on a replica set of three other hosts: it comes up, proves itself, and sees one go."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.hosts import CLIENT, NUMBERS, Hosts
from support.network import network
from support.platform import EXAMPLE, TROTH
from support.rounds import in_many_rounds

pytestmark = [
    pytest.mark.chaos,
    in_many_rounds,
]

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


async def test_the_platform_runs_on_three_other_hosts(tmp_path: Path) -> None:
    with network(CLIENT) as made:
        hosts = Hosts(tmp_path, made)
        here = made.host(CLIENT)
        state = tmp_path / "state"
        options = ("--config", str(described(hosts)), "--state", str(state), "--network", "loopback")
        up = here.run(str(TROTH), "up", *options)
        try:
            for number in NUMBERS:
                hosts.start(number)
            await hosts.ready()
            platform = begin(up, tmp_path / "up.out")
            try:
                await until_status(state, ready=True)
                members = status(state)["members"]
                assert sorted(one["role"] for one in members) == [
                    "leader",
                    "quorum_standby",
                    "quorum_standby",
                ]
                assert not list((state / "members").iterdir()), "nothing of a database is here"
                await until_drilled(state)
                await asyncio.to_thread(
                    check, here.run, state, "data.replicas", "proved", "3 addresses in DE"
                )
                await asyncio.to_thread(check, here.run, state, "data.backups", "proved", "writes lost")
                leader = await hosts.leader()
                await hosts.lose(next(number for number in NUMBERS if number != leader))
                await asyncio.to_thread(check, here.run, state, "data.replicas", "broken", "does not answer")
            finally:
                platform.terminate()
                await asyncio.to_thread(platform.wait, 60)
        finally:
            await hosts.stop()


def begin(argv: tuple[str, ...], out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen((*DIE_WITH_PARENT, *argv), stdin=subprocess.DEVNULL, stdout=file)


def described(hosts: Hosts) -> Path:
    """The example, its database on the hosts."""
    text = EXAMPLE.read_text()
    targets = ", ".join(f'"{host.at(host.postgres)}"' for host in hosts.set.hosts)
    elsewhere = f'hosts = [{targets}]\nregions = ["DE", "DE", "DE"]\ncertificates = "{hosts.platform}"\n'
    beginning, rest = text.split("members = 3\n", 1)
    for folder in ("schemas", "logos"):
        rest = rest.replace(f'"{folder}/', f'"{EXAMPLE.parent / folder}/')
    rest = rest.replace('folder = "."', f'folder = "{EXAMPLE.parent}"')
    file = hosts.folder / "troth.toml"
    file.write_text(beginning + elsewhere + rest)
    return file


def status(state: Path) -> dict[str, Any]:
    done = subprocess.run(
        (TROTH, "status", "--json", "--state", state), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)


async def until_status(state: Path, *, ready: bool) -> None:
    async with asyncio.timeout(180):
        while (await asyncio.to_thread(status, state))["ready"] is not ready:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


async def until_drilled(state: Path) -> None:
    """The first backup comes by itself, and its drill."""
    async with asyncio.timeout(240):
        while not (await asyncio.to_thread(status, state))["backup_drills"]["last"]:  # noqa: ASYNC110
            await asyncio.sleep(0.5)


def check(run: Any, state: Path, promise: str, verdict: str, words: str) -> None:
    """The verdict on a promise on the factsheet."""
    argv = run(str(TROTH), "factsheet", "--json", "--state", str(state))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    found = {one["id"]: one for one in json.loads(done.stdout)["promises"]}[promise]
    assert found["verdict"] == verdict, found
    assert words in str(found["evidence"])
