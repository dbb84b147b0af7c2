"""Up, down, killed and up again, on a platform of its own with one database member."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.person import signed_in, ticket
from support.platform import (
    ANNA,
    EXAMPLE,
    JONAS,
    LEA,
    MARKUS,
    RESIDENTS,
    TROTH,
    Troth,
    ended,
    state_folder,
    troth,
    until,
)
from support.rounds import in_many_rounds
from troth.hosting import processes


@pytest.fixture(scope="module")
def alone() -> Iterator[Troth]:
    """A platform that is down; whatever a test leaves running is ended afterwards."""
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            yield running


@contextmanager
def foreground(running: Troth) -> Generator[subprocess.Popen[str]]:
    """`troth up` in the foreground, from the moment it says that it is up."""
    process = subprocess.Popen(
        (TROTH, "up", *running.arguments()), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said: list[str] = []
        while "Ctrl-C stops everything" not in (line := process.stdout.readline()):
            assert line, f"troth up ended by itself: {''.join(said)}"
            said.append(line)
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_killed_and_interrupted_it_leaves_nothing_running_and_loses_nothing(alone: Troth) -> None:
    with foreground(alone) as up:
        async with signed_in(alone, ANNA) as anna:
            created = await anna.call("POST", "tickets", json=ticket("Written before the end"))
            assert created.status_code == 201
        present = alone.living()
        assert len(present) > 10
        up.kill()
        up.wait()
        assert processes.wait_until_gone(present, 10.0) == ()
    assert alone.living() == ()

    with foreground(alone) as up:
        async with signed_in(alone, ANNA) as anna:
            titles = [one["title"] for one in await anna.all("tickets")]
            assert titles == ["Written before the end"]
        present = alone.living()
        up.send_signal(signal.SIGINT)
        assert up.wait(60) == 0
        assert processes.wait_until_gone(present, 0.0) == ()
    assert alone.living() == ()


async def test_a_second_up_says_that_it_runs_and_down_ends_every_process(alone: Troth) -> None:
    first = alone.up("--detach")
    assert first.status == 0, first.errors
    assert alone.origin(RESIDENTS) in first.output
    assert str(alone.state.public_ca) in first.output
    for email in (ANNA, MARKUS, LEA, JONAS):
        assert alone.password(email) in first.output
    present = alone.living()

    began = time.monotonic()
    second = alone.up("--detach")
    assert second.status == 0
    assert "already" in second.output
    assert time.monotonic() - began < 30
    assert {one.pid for one in alone.living()} >= {present[0].pid}

    status = troth("status", "--json", "--state", alone.state.root)
    assert status.status == 0
    seen = json.loads(status.output)
    assert seen["ready"] is True
    assert [one["role"] for one in seen["members"]] == ["leader"]
    assert len(seen["instances"]) == 4
    assert seen["certificates"]

    down = alone.down()
    assert down.status == 0, down.errors
    assert processes.wait_until_gone(present, 0.0) == ()
    assert alone.living() == ()
    after = troth("status", "--json", "--state", alone.state.root)
    assert after.status == 1
    assert json.loads(after.output)["ready"] is False
    assert alone.down().status == 0  # nothing to do is no fault


async def cut_short(running: Troth) -> None:
    """Begin a first start and kill it when PostgreSQL has just been made on the first member."""
    process = _begin(running)
    try:

        async def servers() -> int:
            return len(list(running.state.members.glob("*/data/postmaster.pid")))

        await until(servers, lambda count: count > 0, seconds=60, what="PostgreSQL begins")
    finally:
        process.kill()
        process.wait()
    assert processes.wait_until_gone(running.living(), 10.0) == ()


@in_many_rounds
@pytest.mark.chaos
@pytest.mark.timeout(400)
@pytest.mark.parametrize("members", [1, 3], ids=["1", "3"])
async def test_a_first_start_that_was_cut_short_begins_again(members: int) -> None:
    with state_folder() as root:
        running = Troth(root, members=members)
        with ended(running):
            await cut_short(running)
            done = running.up("--detach")
            assert done.status == 0, done.output + done.errors
            await running.whole()
            async with signed_in(running, ANNA) as anna:
                assert (await anna.call("POST", "tickets", json=ticket("The first"))).status_code == 201


CONFIGURATION_FAULTS = {
    "a typo": ('region = "IE"', 'regoin = "IE"', "regoin"),
    "a region outside the EU": ('region = "IE"', 'region = "us-east-1"', "data.residency"),
    "a domain twice": ('name = "owners.localhost"', 'name = "residents.localhost"', "residents.localhost"),
    "an unknown role": ('roles = ["resident"]', 'roles = ["janitor"]', "janitor"),
    "a schema that is missing": ("schemas/ticket.json", "schemas/none.json", "none.json"),
    "no TOML": ("version = 1", "version = = 1", "TOML"),
}


@pytest.mark.parametrize("fault", CONFIGURATION_FAULTS)
def test_a_bad_configuration_stops_before_anything_starts(fault: str, tmp_path: Path) -> None:
    old, new, named = CONFIGURATION_FAULTS[fault]
    text = EXAMPLE.read_text()
    assert old in text
    config = tmp_path / "troth.toml"
    for name in ("schemas", "logos", "portal"):
        (tmp_path / name).symlink_to(EXAMPLE.parent / name)
    config.write_text(text.replace(old, new, 1))
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running):
            done = troth("up", "--detach", *running.arguments(config=config))
            assert done.status == 2, done.output + done.errors
            line = text[: text.index(old)].count("\n") + 1
            assert named in done.errors
            assert f"{config}:{line}" in done.errors.replace("\n", ""), done.errors
            assert "Traceback" not in done.errors
            _assert_nothing_was_started(running)


def test_a_port_in_use_stops_before_anything_starts() -> None:
    with state_folder() as root:
        running = Troth(root, members=1)
        with ended(running), socket.create_server(("127.0.0.1", running.https_port)):
            done = running.up("--detach")
            assert done.status == 2, done.output + done.errors
            assert str(running.https_port) in done.errors
            _assert_nothing_was_started(running)


def test_a_state_folder_of_a_newer_version_is_left_alone() -> None:
    with state_folder() as root:
        root.mkdir(mode=0o700)
        (root / "version").write_text("999\n")
        running = Troth(root, members=1)
        with ended(running):
            done = running.up("--detach")
            assert done.status == 2, done.output + done.errors
            assert "newer" in done.errors
            assert [path.name for path in root.iterdir()] == ["version"]


def _begin(running: Troth) -> subprocess.Popen[bytes]:
    return subprocess.Popen((TROTH, "up", *running.arguments()), stdout=subprocess.DEVNULL)


def _assert_nothing_was_started(running: Troth) -> None:
    assert running.living() == ()
    for folder in (running.state.members, running.state.consensus):
        assert not folder.exists() or not any(folder.iterdir())
