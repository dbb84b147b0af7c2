"""An instance as a real process: who may call it, and how it leaves."""

import asyncio
import http.client
import signal
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.stage import Stage
from support.waiting import until, until_answered
from troth.hosting.health import READY_PATH, STARTED_PATH
from troth.hosting.pulse import SIZE

APPLICATION = """
import asyncio, os, sys, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    if scope["path"] == "/fails":
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/raises":
        raise ValueError("nobody catches this")
    if scope["path"] == "/reads":
        await answer(send, read(scope["query_string"].decode()))
        return
    if scope["path"] == "/hangs":
        hang_for_ever()
    if scope["path"] == "/computes":
        print("computes", flush=True)
        sum(range(10**12))  # never lets another thread of Python run either
    if scope["path"] == "/slow":
        print("slow began", flush=True)
        await asyncio.sleep(1.0)
    body = os.environ["GREETING"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})

def read(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__

async def answer(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})

def hang_for_ever():
    print("hangs", flush=True)
    time.sleep(3600)

async def live(receive, send):
    await receive()
    if os.environ.get("FAIL"):
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("shut down in order", flush=True)
    await send({"type": "lifespan.shutdown.complete"})

def make():
    return app
"""


def get(connection: http.client.HTTPSConnection, path: str = "/") -> tuple[int, bytes, str | None]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.getheader("connection")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    stage = Stage(tmp_path, APPLICATION)
    yield stage
    if stage.process is not None:
        stage.process.kill()
        stage.process.wait()


async def test_a_caller_of_the_platform_is_served(stage: Stage) -> None:
    stage.start()
    await stage.until_ready()
    connection = stage.connect(stage.keeper)
    assert get(connection) == (200, b"hello", None)
    assert get(connection, READY_PATH)[0] == 200
    connection.close()


@pytest.mark.parametrize("who", ["nobody", "stranger"])
async def test_a_caller_without_a_certificate_of_the_callers_gets_nothing(stage: Stage, who: str) -> None:
    stage.start()
    await stage.until_ready()
    connection = stage.connect(stage.stranger if who == "stranger" else None)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(connection)
    connection.close()


async def test_an_instance_speaks_nothing_older_than_tls_1_3(stage: Stage) -> None:
    stage.start()
    await stage.until_ready()
    context = ssl.create_default_context(cafile=stage.instances.certificate_file)
    context.load_cert_chain(stage.keeper.certificate, stage.keeper.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(stage.endpoint.host, stage.endpoint.port, ssl=context)


async def test_sigterm_lets_a_request_in_flight_finish(stage: Stage) -> None:
    process = stage.start()
    await stage.until_ready()
    connection = stage.connect(stage.keeper)
    slow = asyncio.create_task(asyncio.to_thread(get, connection, "/slow"))
    await stage.until_logged("slow began")
    process.terminate()
    await until_answered(stage.is_held)
    assert await slow == (200, b"hello", "close")
    assert await asyncio.to_thread(process.wait, 5) == 0
    assert "shut down in order" in stage.log.read_text()
    connection.close()


async def test_a_kept_connection_is_closed_by_the_drain(stage: Stage) -> None:
    process = stage.start()
    await stage.until_ready()
    idle, connection = stage.connect(stage.keeper), stage.connect(stage.keeper)
    assert get(idle)[0] == get(connection)[0] == 200
    process.terminate()
    await until_answered(stage.is_held)
    assert get(connection) == (200, b"hello", "close")
    assert await asyncio.to_thread(process.wait, 5) == 0
    with pytest.raises((http.client.HTTPException, OSError)):
        get(idle)
    idle.close()
    connection.close()


async def test_an_application_that_cannot_start_ends_its_process(stage: Stage) -> None:
    process = stage.start(FAIL="yes")
    assert await asyncio.to_thread(process.wait, 15) == 1
    assert (await stage.probe().ask(stage.endpoint)).status == 0


async def test_an_instance_that_is_held_back_says_so_to_the_edge_alone(stage: Stage) -> None:
    stage.start()
    await stage.until_ready()
    stage.pulse.order("hold")
    probe = stage.probe()
    assert (await probe.ask(stage.endpoint)).status == 503
    assert await probe.is_started(stage.endpoint)
    connection = stage.connect(stage.keeper)
    assert get(connection)[0] == 200, "what is on its way is still served"
    connection.close()
    stage.pulse.order("serve")
    assert (await probe.ask(stage.endpoint, STARTED_PATH)).ready and await probe.is_ready(stage.endpoint)


async def test_an_instance_tells_what_it_served_and_what_nobody_caught(stage: Stage) -> None:
    process = stage.start()
    await stage.until_ready()
    connection = stage.connect(stage.keeper)
    assert get(connection)[0] == 200
    assert get(connection, "/fails")[0] == 500
    assert get(connection, "/raises")[0] == 500

    def counted() -> bool:
        told = stage.pulse.read()
        return told is not None and (told.pid, told.served, told.failed, told.raised) == (
            process.pid,
            2,
            1,
            1,
        )

    await until(counted)
    assert "nobody catches this" in stage.log.read_text()
    connection.close()


@pytest.mark.parametrize("path", ["/hangs", "/computes"])
async def test_an_instance_whose_loop_does_not_turn_tells_the_edge_what_the_keeper_wants(
    stage: Stage, path: str
) -> None:
    stage.start()
    await stage.until_ready()
    connection = stage.connect(stage.keeper)
    connection.request("GET", path)
    await stage.until_logged(path[1:])
    assert (await stage.probe().ask(stage.endpoint)).ready
    stage.pulse.order("hold")
    assert await stage.is_held()
    connection.close()


async def test_of_all_files_an_instance_shows_its_pulse_alone(stage: Stage) -> None:
    stage.start()
    await stage.until_ready()
    connection = stage.connect(stage.keeper)
    assert len(get(connection, READY_PATH)[1]) == SIZE
    for path in ("/", "/pulse", "/../pulse", "/../state/root.key", "x", "/%2e%2e/instance.json"):
        assert get(connection, READY_PATH + path)[:2] == (200, b"hello"), (
            "that is the application's to answer"
        )
    connection.close()


async def test_a_loop_that_hangs_no_longer_tells_and_writes_down_where_it_stands_when_asked(
    stage: Stage,
) -> None:
    process = stage.start()
    await stage.until_ready()
    await until(lambda: stage.pulse.read() is not None)
    connection = stage.connect(stage.keeper)
    connection.request("GET", "/hangs")
    await stage.until_logged("hangs")
    last = stage.pulse.read()
    assert last is not None
    process.send_signal(signal.SIGABRT)
    assert await asyncio.to_thread(process.wait, 5) == -signal.SIGABRT
    assert stage.pulse.read() == last
    assert "in hang_for_ever" in stage.log.read_text()
    connection.close()


async def test_an_application_reads_its_own_folder_and_not_the_state_in_it(stage: Stage) -> None:
    stage.start()
    await stage.until_ready()
    (stage.folder / "state" / "later").write_text("secret")
    connection = stage.connect(stage.keeper)
    assert b"async def app" in get(connection, f"/reads?{stage.folder / 'toy_application.py'}")[1]
    for name in ("root.key", "later"):
        assert get(connection, f"/reads?{stage.state / name}")[1] == b"PermissionError"
    assert get(connection, "/reads?/proc/1/environ")[1] == b"PermissionError"
    connection.close()
