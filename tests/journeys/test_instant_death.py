"""What an application streams to a signed-in person ends with the session, through everything in between."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from support.configuration import LOGO, MINIMAL, SCHEMA
from support.platform import RESIDENTS, Troth, ended, state_folder, troth, until
from troth.access.visit import Account, Visit, sign_in, sign_out
from troth.core.names import SESSION_COOKIE
from troth.core.reach import Visitor
from troth.core.secret import Secret

ANNA = "anna@lindenhof.example"

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"one\\n", "more_body": True})
    while scope["path"] == "/stream":
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"more\\n", "more_body": True})
    await send({"type": "http.response.body", "body": b""})
"""


@pytest.fixture(scope="module")
def streaming() -> Iterator[Troth]:
    """A platform whose one application streams."""
    with state_folder() as root:
        folder = root.with_name("config")
        folder.mkdir()
        for name, text in (("portal.py", APPLICATION), ("logo.svg", LOGO), ("ticket.json", SCHEMA)):
            (folder / name).write_text(text)
        config = folder / "troth.toml"
        config.write_text(MINIMAL)
        running = Troth(root, members=1)
        with ended(running):
            done = troth("up", *running.arguments(config=Path(config)), "--detach")
            assert done.status == 0, done.output + done.errors
            yield running


@pytest.fixture
async def visitor(streaming: Troth) -> AsyncIterator[Visitor]:
    async with Visitor(streaming.face) as opened:
        yield opened


async def enter(streaming: Troth, visitor: Visitor) -> Visit:
    password = Secret(streaming.password(ANNA).encode())
    return await sign_in(visitor, streaming.face, Account(RESIDENTS, ANNA, password))


async def read_on(streaming: Troth, visit: Visit, came: asyncio.Event) -> float:
    """Read the stream until it ends; when, by this process's clock."""
    origin = streaming.origin(RESIDENTS)
    authority = origin.removeprefix("https://")
    trust = ssl.create_default_context(cafile=streaming.state.public_ca)
    async with (
        httpx.AsyncClient(verify=trust, trust_env=False, timeout=30) as client,
        client.stream(
            "GET",
            f"https://127.0.0.1:{streaming.https_port}/stream",
            headers={"Host": authority, "Cookie": f"{SESSION_COOKIE}={visit.cookie}"},
            extensions={"sni_hostname": RESIDENTS},
        ) as answer,
    ):
        assert answer.status_code == 200
        with pytest.raises(httpx.HTTPError):  # cut, and so not taken for whole
            async for _ in answer.aiter_raw():
                came.set()
        return time.monotonic()


async def comes(reading: asyncio.Task[float], came: asyncio.Event) -> None:
    """Something has come over a stream that goes on; raises what ended it otherwise."""
    waiting = asyncio.ensure_future(came.wait())
    async with asyncio.timeout(20):
        await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert not reading.done(), reading.result()


async def test_a_stream_ends_with_its_session_and_no_other(streaming: Troth, visitor: Visitor) -> None:
    leaving, staying = await enter(streaming, visitor), await enter(streaming, visitor)
    came = asyncio.Event(), asyncio.Event()
    mine = asyncio.create_task(read_on(streaming, leaving, came[0]))
    other = asyncio.create_task(read_on(streaming, staying, came[1]))
    await comes(mine, came[0])
    await comes(other, came[1])
    await sign_out(visitor, streaming.face, leaving)
    await asyncio.wait_for(mine, 15)
    came[1].clear()
    await comes(other, came[1])
    await sign_out(visitor, streaming.face, staying)
    await asyncio.wait_for(other, 15)


async def test_the_bound_is_measured_by_itself_and_published(streaming: Troth) -> None:
    seen = await until(
        streaming.status, lambda status: bool(status["bound"]["bound"]), seconds=90, what="a measurement"
    )
    bound, feeds = seen["bound"]["bound"], seen["bound"]["feeds"]
    assert bound["never"] == 0
    assert bound["opened"] == []
    assert 0 < bound["p50"] <= bound["p99"] <= bound["longest"]
    assert {one["instance"]: one["lively"] for one in feeds} == {"web-1": True, "web-2": True}
    line = (await streaming.factsheet())["access.sessions"]
    assert line["verdict"] == "proved"
    assert "measurements in" in line["evidence"]
