"""The socket of the metrics: for its owner alone, one thing to read."""

import asyncio
from pathlib import Path

from troth.hosting.watch.endpoint import serve_metrics


async def ask(path: Path, head: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(head)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_metrics_are_read_with_a_get_on_a_socket_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    async with serve_metrics(path, lambda: "troth_edge_up 1.0\n"):
        assert path.stat().st_mode & 0o777 == 0o600
        good = await ask(path, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert good.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
        assert good.endswith(b"\r\n\r\ntroth_edge_up 1.0\n")
        assert b" 404 " in await ask(path, b"GET / HTTP/1.1\r\n\r\n")
        assert b" 405 " in await ask(path, b"POST /metrics HTTP/1.1\r\n\r\n")
        assert await ask(path, b"x" * 100_000) == b"", "a head without an end is not held"
    assert not path.exists()
