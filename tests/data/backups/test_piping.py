"""A pipe that is read in large pieces: whole, at once when nothing more comes, and given up at any time."""

import asyncio
import os

from troth.data.backups.piping import PIECE_BYTES, PipeReader


async def test_everything_comes_out_in_large_pieces_and_then_the_end() -> None:
    reading, writing = os.pipe()
    reader, content = PipeReader(reading), os.urandom(1 << 20) * 9

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    task = asyncio.ensure_future(asyncio.to_thread(write))
    pieces: list[bytes] = []
    while piece := await reader.read():
        pieces.append(piece)
    await task
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) == PIECE_BYTES
    assert await reader.read() == b""
    await reader.close()


async def test_what_has_come_is_handed_over_when_nothing_more_comes() -> None:
    reading, writing = os.pipe()
    reader = PipeReader(reading)
    os.write(writing, b"a few")
    assert await reader.read() == b"a few"
    os.close(writing)
    await reader.close()


async def test_who_stops_while_nothing_comes_waits_for_no_writer() -> None:
    reading, writing = os.pipe()
    reader = PipeReader(reading)
    waiting = asyncio.ensure_future(reader.read())
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait_for(reader.close(), 5)
    try:
        os.write(writing, b"x")
    except BrokenPipeError:
        pass
    else:
        raise AssertionError("the pipe is still open")
    os.close(writing)
