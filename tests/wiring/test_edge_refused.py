"""The edge refuses what it is told: what it had serves on, and the alarm says why in its words."""

import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from support.edge import RESIDENTS, World, running_world
from troth.core.ca import LeafFiles
from troth.core.errors import PlatformError
from troth.hosting.edge import render
from troth.hosting.edge_admin import config_file
from troth.hosting.edge_state import EdgeDomain, EdgeState
from troth.hosting.plan import Duty
from troth.hosting.watch.rules import judge
from troth.wiring.watching import DutyBook

Change = Callable[[World], EdgeState]


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


def with_domain(world: World, name: str, certificate: LeafFiles | None = None) -> EdgeState:
    first = world.state.domains[0]
    added = EdgeDomain(name, first.app, certificate or first.certificate)
    return msgspec.structs.replace(world.state, domains=(*world.state.domains, added))


REFUSED: dict[str, tuple[Change, str]] = {
    "a domain that is there already": (lambda world: with_domain(world, RESIDENTS), "is repeated"),
    "the key of another certificate": (
        lambda world: with_domain(
            world,
            "new.localhost",
            LeafFiles(world.state.domains[0].certificate.certificate, world.state.domains[1].certificate.key),
        ),
        "private key does not match public key",
    ),
    "a certificate that is not there": (
        lambda world: with_domain(
            world, "new.localhost", LeafFiles(world.folder / "none.pem", world.folder / "none.key")
        ),
        "no such file",
    ),
    "a certificate that is none": (
        lambda world: with_domain(
            world, "new.localhost", LeafFiles(world.state.domains[0].certificate.key, world.state.access_log)
        ),
        "PEM",
    ),
}


async def serves(world: World) -> None:
    async with world.browser() as browser:
        assert (await browser.get("/login")).status_code == 200


def failing(world: World, state: EdgeState) -> tuple[Duty, DutyBook]:
    async def work() -> str:
        await world.admin.load(render(state), force=True)
        return ""

    book = DutyBook()
    (duty,) = book.over((Duty(name="certificates", every=1.0, work=work),))
    return duty, book


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_refused_changes_nothing_and_is_an_alarm_with_the_reason(
    world: World, what: str
) -> None:
    change, reason = REFUSED[what]
    kept = config_file(world.state).read_bytes()
    duty, book = failing(world, change(world))
    with pytest.raises(PlatformError, match="refused its new configuration") as caught:
        await duty.work()
    assert reason in caught.value.public
    (fault,) = judge(book.samples())
    assert (fault.rule, fault.severity) == ("duty.failing", "warning")
    assert fault.words.startswith("certificates failed: The edge refused its new configuration: ")
    assert reason in fault.words
    assert config_file(world.state).read_bytes() == kept, "a restarted edge begins with what was accepted"
    await serves(world)


async def test_a_port_that_somebody_else_holds_is_refused_like_a_fault_of_the_configuration(
    world: World,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        state = msgspec.structs.replace(world.state, http_port=int(held.getsockname()[1]))
        with pytest.raises(PlatformError, match="address already in use"):
            await world.admin.load(render(state), force=True)
    await serves(world)


async def test_the_alarm_ends_with_the_next_configuration_that_is_accepted(world: World) -> None:
    duty, book = failing(world, world.state)
    assert await duty.work() == ""
    assert judge(book.samples()) == ()
    await serves(world)


def test_a_configuration_names_no_secret(world: World) -> None:
    """What is refused is told in Caddy's words, so that nothing may stand in it which is to be kept."""
    rendered: dict[str, Any] = render(world.state)
    key = world.state.domains[0].certificate.key.read_text().splitlines()[1]
    assert key not in msgspec.json.encode(rendered).decode()
