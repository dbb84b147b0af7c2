"""A journey in a network namespace of its own, with everything on its loopback captured.

Run as `python -m support.loopback FOLDER` inside `unshare --net` (`--user --map-root-user` as well for who is
not root); prints what was seen as JSON. Nothing but the platform and its visitors speaks there, so every
packet counts, from before the platform starts until after it has ended, on whatever port.
"""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from support.load import Tally, Writer
from support.person import Person, signed_in, ticket
from support.platform import ANNA, EXAMPLE, MARKUS, RESIDENTS, Troth, ended, troth
from support.relay import Kept, running_relay
from troth.core.db import Database
from troth.core.reach import Visitor
from troth.data.capture import Captured, Hop, Traffic
from troth.data.internal_tls import planted_hop
from troth.data.roles import SUPERUSER
from troth.data.sniffing import Sniffer
from troth.hosting import processes

RELAY, REDIRECT = "SMTP relay", "redirect to HTTPS"
SECONDS = 400.0
"""For the whole journey on a machine that is busy with other things; a quiet one needs a tenth."""
_UP, _SET_FLAGS, _GET_FLAGS = 1, 0x8914, 0x8913


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. `names` tells which port was whose; `replication` are the verdicts on the connections by
    which members follow their leader; `planted` is the port of the hop in plain text."""

    journey: Captured
    names: dict[str, str]
    replication: tuple[str, ...]
    messages: int
    acknowledged: int
    planted: int
    after: Captured
    internal_tls: tuple[str, str]


def in_a_namespace(folder: Path, *, members: int) -> Report:
    """Run the journey as whoever we are: in a namespace of its own nobody needs to be root to capture."""
    own_user = ("--user", "--map-root-user") if os.geteuid() else ()
    done = subprocess.run(
        ("unshare", "--net", *own_user, sys.executable, "-m", "support.loopback", str(folder), str(members)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)


async def journey(folder: Path, members: int) -> Report:
    """Everything that people do, a leader's death, and the end; then a hop in plain text."""
    _lift_loopback()
    running = Troth(folder / "s", members=members)
    relay_folder = folder / "relay"
    relay_folder.mkdir()
    async with running_relay(relay_folder) as kept:
        hops = (Hop(RELAY, kept.relay.port, "smtp"), Hop(REDIRECT, running.http_port, "redirect"))
        traffic = Traffic(hops, strays=True)
        sniffer = Sniffer(traffic, None)
        config = _with_relay(folder, kept)
        with ended(running):
            done = await asyncio.to_thread(_start, running, config)
            assert done == 0, "the platform did not start"
            names, clients = await _names(running), await _replication(running)
            acknowledged = await _visit(running, kept)
            captured = await asyncio.to_thread(sniffer.stop)
            after, planted, line = await _plant(running, hops)
        replication = tuple(judged[1].verdict for port in clients if (judged := traffic.of_client(port)))
        return Report(
            journey=captured,
            names=names,
            replication=replication,
            messages=len(kept.messages),
            acknowledged=acknowledged,
            planted=planted,
            after=after,
            internal_tls=(line["verdict"], line["evidence"]),
        )


def _start(running: Troth, config: Path) -> int:
    done = troth("up", *running.arguments(config=config), "--detach")
    print(done.output, done.errors, file=sys.stderr)  # noqa: T201 - shown when the journey fails
    return done.status


async def _visit(running: Troth, kept: Kept) -> int:
    """Returns how many tickets were acknowledged."""
    async with Visitor(running.face) as visitor:
        assert (await visitor.request_plainly(RESIDENTS, "/")).status_code == 308
    async with signed_in(running, ANNA) as anna, signed_in(running, MARKUS) as markus:
        await _write_and_read(anna)
        if running.members > 1:
            await _lose_the_leader(running, anna)
        assert (await markus.get("/")).status_code == 200
        forgotten = await anna.post("/account/forgot", {"email": MARKUS})
        assert forgotten.status_code in (200, 303), forgotten.text
        acknowledged = len(await markus.all("tickets"))
        await anna.sign_out()
        async with asyncio.timeout(20):
            while not kept.messages:  # noqa: ASYNC110 - the relay runs in a thread of its own
                await asyncio.sleep(0.1)
    await running.whole(seconds=60)
    return acknowledged


async def _write_and_read(person: Person) -> None:
    for number in range(5):
        answer = await person.call("POST", "tickets", json=ticket(f"through the API {number}"))
        assert answer.status_code == 201, answer.text
    fields = {
        "title": "through the application",
        "category": "heating",
        "urgency": "normal",
        "location": "4b",
    }
    filed = await person.post("/tickets", {**fields, "description": "cold", "key": str(uuid4())})
    assert filed.status_code in (200, 303), filed.text
    assert (await person.get("/")).status_code == 200


async def _lose_the_leader(running: Troth, person: Person) -> None:
    writer = Writer(person, Tally())
    writing = asyncio.create_task(writer.run())
    await writer.wrote(5, seconds=30)
    processes.send(running.postmaster(await running.leader()), signal.SIGKILL)
    await writer.wrote(5, seconds=60)
    writer.stop.set()
    await writing


async def _plant(running: Troth, hops: tuple[Hop, ...]) -> tuple[Captured, int, dict[str, Any]]:
    """The factsheet's own look, and a hop in plain text that this process opens and uses meanwhile."""
    sniffer = Sniffer(Traffic(hops, strays=True), None)
    async with planted_hop() as place:
        sheet = await running.factsheet()
    return await asyncio.to_thread(sniffer.stop), place.port, sheet["data.internal_tls"]


async def _names(running: Troth) -> dict[str, str]:
    """Port → whose it is, as the parts themselves tell."""
    status = await running.status()
    names = {f"port {running.https_port}": "public edge"}
    names |= {
        f"port {one['endpoint'].rpartition(':')[2]}": f"{one['service']} instance"
        for one in status["instances"]
    }
    names[f"port {status['edge']['private'].rpartition(':')[2]}"] = "edge for applications"
    for file in running.state.run.glob("member-*.patroni.json"):
        told = json.loads(file.read_text())
        for listening, name in (
            (told["postgresql"]["listen"], "PostgreSQL"),
            (told["restapi"]["listen"], "Patroni"),
            (told["etcd3"]["hosts"][0], "etcd"),
        ):
            names[f"port {listening.rpartition(':')[2]}"] = name
    return names


async def _replication(running: Troth) -> tuple[int, ...]:
    database = await Database.open(running.database(SUPERUSER), max_size=1)
    try:
        rows = await database.fetch("select client_port from pg_stat_replication")
    finally:
        await database.close()
    return tuple(row["client_port"] for row in rows)


def _with_relay(folder: Path, kept: Kept) -> Path:
    """The example, with a relay."""
    place = folder / "example"
    shutil.copytree(EXAMPLE.parent, place)
    relay = kept.relay
    table = (
        f'\n[mail]\nhost = "{relay.host}"\nport = {relay.port}\ntls = "{relay.tls}"\n'
        f'sender = "{relay.sender}"\nregion = "DE"\nuser = "{relay.user}"\n'
        f'password_file = "{relay.password_file}"\nca = "{relay.ca}"\n'
    )
    with (place / EXAMPLE.name).open("a") as file:
        file.write(table)
    return place / EXAMPLE.name


def _lift_loopback() -> None:
    """A new namespace begins with its loopback down (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(control, _GET_FLAGS, asked))[1]
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14s", b"lo", flags | _UP, b""))


if __name__ == "__main__":
    report = asyncio.run(journey(Path(sys.argv[1]), int(sys.argv[2])))
    print(msgspec.json.encode(report).decode())  # noqa: T201 - read by the test
