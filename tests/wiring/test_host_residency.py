"""A host of several: an outgoing connection that `hosts.toml` does not declare is told."""

import socket
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

from troth.core.clock import SystemClock
from troth.core.process import Endpoint
from troth.core.state import State, open_state
from troth.data.hosts import Host, HostSet
from troth.hosting.outgoing import own_addresses
from troth.wiring.host_residency import HostResidency

SET = HostSet(
    hosts=tuple(Host(name=f"db-{n}", address=f"10.0.0.{n}", region="DE") for n in (1, 2, 3)),
    clients=("10.0.1.0/24",),
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path / "s")


@pytest.fixture
def place() -> Generator[Endpoint]:
    """Where a connection of this process leads: an address of this machine, nothing is sent anywhere."""
    found = [one for one in own_addresses() if "." in one and not one.startswith(("127.", "169.254."))]
    if not found:
        pytest.skip("this machine has no address but loopback")
    with socket.create_server((min(found), 0)) as listener:
        address, port = listener.getsockname()
        with socket.create_connection((address, port)):
            yield Endpoint(address, port)


async def test_an_undeclared_connection_is_told_once_and_stays_a_trouble(
    state: State, place: Endpoint
) -> None:
    watch = HostResidency(state, SET, SystemClock())
    assert f"connected to {place}" in await watch.work()
    assert await watch.work() == ""
    (trouble,) = watch.troubles()
    assert f"connected to {place}" in trouble
    assert len((await watch.report()).undeclared) == 1


async def test_what_hosts_toml_declares_is_no_stray(state: State, place: Endpoint) -> None:
    host = msgspec.structs.replace(SET.hosts[0], address=place.host, postgres=place.port)
    hosts = msgspec.structs.replace(SET, hosts=(host, *SET.hosts[1:]))
    watch = HostResidency(state, hosts, SystemClock())
    assert await watch.work() == ""
    assert watch.troubles() == ()
