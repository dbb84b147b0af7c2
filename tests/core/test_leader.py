"""The search for the leader among members of which some answer nothing at all."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import asyncpg
import msgspec
import pytest

from support.postgres import Server
from troth.core import leader
from troth.core.leader import LOST_SECONDS, SecureContext, connect, find_leader
from troth.core.process import Endpoint
from troth.data.roles import APP


@pytest.fixture
def black_hole() -> Generator[Endpoint]:
    """A port that swallows what is sent to it: its queue is full and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield Endpoint(address[0], address[1])


async def test_black_holes_do_not_delay_the_leader_that_answers(
    postgres: Server, black_hole: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a member may take, one that answers is not kept waiting for it."""
    monkeypatch.setattr(leader, "CONNECT_SECONDS", 60.0)
    target = postgres.target(APP)
    target = msgspec.structs.replace(target, hosts=(black_hole, *target.hosts, black_hole))
    async with asyncio.timeout(30):
        found = await find_leader(target, SecureContext.of(target))
    assert found is not None
    assert found[0].endpoint == postgres.endpoint
    await found[1].close()


async def test_where_nobody_answers_the_search_ends(postgres: Server, black_hole: Endpoint) -> None:
    target = msgspec.structs.replace(postgres.target(APP), hosts=(black_hole, black_hole))
    async with asyncio.timeout(30):
        assert await find_leader(target, SecureContext.of(target)) is None


async def test_a_connection_is_given_up_by_the_kernel_when_nothing_comes_back(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[asyncio.Transport] = []
    made = asyncpg.Connection.__init__

    def note(self: object, protocol: object, transport: asyncio.Transport, *rest: object) -> None:
        seen.append(transport)
        made(self, protocol, transport, *rest)  # pyright: ignore

    monkeypatch.setattr(asyncpg.Connection, "__init__", note)
    target = postgres.target(APP)
    connection = await connect(target, postgres.endpoint, SecureContext.of(target))
    raw: socket.socket = seen[0].get_extra_info("socket")
    assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == LOST_SECONDS * 1000
    await connection.close()
