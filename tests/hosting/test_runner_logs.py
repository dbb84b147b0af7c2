"""What an instance of an application writes carries the number of the request that it works on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.stage import Stage
from support.waiting import until

APPLICATION = """
import asyncio, logging

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    for step in range(5):
        print("step", step, "of", scope["path"])
        await asyncio.sleep(0.02)
    logging.getLogger("portal").warning("done with %s", scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def make():
    return app
"""
REQUESTS = 8


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    stage = Stage(tmp_path, APPLICATION)
    stage.log_format = "json"
    process = stage.start()
    try:
        await stage.until_ready()
        yield stage
    finally:
        process.terminate()
        process.wait(20)


async def test_lines_of_requests_side_by_side_keep_their_numbers_apart(stage: Stage) -> None:
    def ask(number: int) -> int:
        with contextlib.closing(stage.connect(stage.keeper)) as connection:
            connection.request("GET", f"/{number}", headers={"X-Request-Id": f"number-{number}"})
            return connection.getresponse().status

    statuses = await asyncio.gather(*(asyncio.to_thread(ask, number) for number in range(REQUESTS)))
    assert statuses == [200] * REQUESTS
    await until(lambda: stage.log.read_text().count("done with") == REQUESTS)
    lines = [json.loads(line) for line in stage.log.read_text().splitlines()]
    assert {line["source"] for line in lines} == {"toy-1"}
    told = [line for line in lines if "step" in line["message"] or "done with" in line["message"]]
    assert len(told) == 6 * REQUESTS
    for line in told:
        assert line["request_id"] == f"number-{line['message'].rpartition('/')[2]}"
