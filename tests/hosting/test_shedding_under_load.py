"""Twenty times what an instance is meant to carry: a real one refuses a part, and others are served."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from support.rounds import tell
from support.stage import Stage
from troth.hosting.scaling import Policy
from troth.hosting.shedding import MOST_WAITING

APPLICATION = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})

def make():
    return app
"""

COMPUTING = APPLICATION.replace(
    "    await asyncio.sleep(0.5)\n",
    "    end = time.monotonic() + 0.008\n    while time.monotonic() < end:\n        pass\n",
).replace("import asyncio", "import time")

SPIKE = 20 * round(Policy(least=1, most=1).target)


@pytest.fixture
async def stage(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Stage]:
    stage = Stage(tmp_path, getattr(request, "param", APPLICATION))
    stage.start()
    await stage.until_ready()
    yield stage
    assert stage.process is not None
    stage.process.kill()
    stage.process.wait()


class Edge:
    """Connections as the edge keeps them: each with one request at a time."""

    def __init__(self, stage: Stage) -> None:
        self._endpoint = stage.endpoint
        self._context = ssl.create_default_context(cafile=stage.instances.certificate_file)
        self._context.load_cert_chain(stage.keeper.certificate, stage.keeper.key)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            self._endpoint.host, self._endpoint.port, ssl=self._context, server_hostname="127.0.0.1"
        )

    async def ask(self, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str) -> int:
        reader, writer = stream
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        if b" 503 " in answer[:20]:
            assert b"\r\nretry-after: " in answer.lower()
        return int(answer.split(b" ", 2)[1])


async def flood_beside_others(stage: Stage) -> tuple[Counter[int], float]:
    """What a flood for one domain is answered, and in how many seconds ten of another were served all."""
    edge = Edge(stage)
    flood = [await edge.connect() for _ in range(SPIKE)]
    quiet = [await edge.connect() for _ in range(10)]
    flooding = [asyncio.ensure_future(edge.ask(stream, "flood.example")) for stream in flood]
    await asyncio.wait(flooding, return_when=asyncio.FIRST_COMPLETED)  # the first refusal: it is full
    began = time.monotonic()
    served = await asyncio.gather(*(edge.ask(stream, "quiet.example") for stream in quiet))
    seconds = time.monotonic() - began
    counted = Counter(await asyncio.gather(*flooding))
    assert served == [200] * 10
    assert counted[200] + counted[503] == SPIKE
    return counted, seconds


async def test_a_flood_for_one_domain_is_refused_there_and_nowhere_else(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    counted, seconds = await flood_beside_others(stage)
    assert counted[200] >= MOST_WAITING * 3 // 4
    assert counted[503] >= SPIKE // 3
    told = stage.pulse.read()
    assert told is not None and told.failed == 0, "what was refused is no error of the instance"
    assert await stage.probe().is_ready(stage.endpoint), "it is busy, and not ill"
    tell(capsys, f"{counted[503]} of {SPIKE} refused; ten of another domain served within {seconds:.1f} s")


@pytest.mark.parametrize("stage", [COMPUTING], indirect=True, ids=["computing"])
async def test_a_flood_on_an_application_that_never_waits_does_not_queue_others_behind_it(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    """320 times 8 ms of computing: whoever came after them would wait for two seconds and a half."""
    counted, seconds = await flood_beside_others(stage)
    assert counted[503] > 0
    tell(capsys, f"{counted[503]} of {SPIKE} refused; ten of another domain served within {seconds:.1f} s")
