"""One question and its answer, over a real socket to a program that says what a test wants it to."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from troth.core import asking
from troth.core.asking import Answer, BadAnswer, Streams, ask, ask_status, close

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def answering(
    *answers: bytes, then_end: bool = True
) -> AsyncGenerator[Callable[[], "asyncio.Future[Streams]"]]:
    """Opens connections to a server that says these, one for each question."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
            if not then_end:
                await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield lambda: asyncio.ensure_future(asyncio.open_connection(host, port))


async def asked(answer: bytes, *, keep: bool = True) -> Answer:
    async with answering(answer) as connect:
        streams = await connect()
        try:
            return await ask(streams, "here", "/path", keep=keep)
        finally:
            close(streams)


@pytest.mark.parametrize(
    ("said", "body", "keeps"),
    [
        (OK + b"Content-Length: 4\r\n\r\nwell", b"well", True),
        (OK + b"content-length: 4\r\nConnection: close\r\n\r\nwell", b"well", False),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nwe\r\n2;x=y\r\nll\r\n0\r\nA: b\r\n\r\n",
            b"well",
            True,
        ),
        (OK + b"\r\nup to the end", b"up to the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n!", b"!", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    ],
)
async def test_an_answer_is_read_as_it_is_framed(said: bytes, body: bytes, keeps: bool) -> None:
    answer = await asked(said)
    assert (answer.body, answer.keeps) == (body, keeps)


async def test_who_does_not_want_to_keep_a_connection_says_so_and_does_not() -> None:
    assert not (await asked(OK + b"Content-Length: 4\r\n\r\nwell", keep=False)).keeps


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 99999999999\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        OK + b"X: " + b"y" * (1 << 17),
    ],
)
async def test_what_is_no_answer_or_longer_than_it_may_be_is_refused(said: bytes) -> None:
    with pytest.raises(BadAnswer):
        await asked(said)


async def test_a_body_without_an_end_is_refused_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BODY_BYTES", 100)
    with pytest.raises(BadAnswer):
        await asked(OK + b"\r\n" + b"x" * 101)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", OK + b"Content-Length: 4\r\n\r\nwe"])
async def test_an_answer_that_is_cut_off_is_told_from_one_that_is_bad(said: bytes) -> None:
    with pytest.raises(EOFError):
        await asked(said)


async def test_a_connection_is_asked_again_where_both_sides_keep_it() -> None:
    said = OK + b"Content-Length: 1\r\n\r\n"
    async with answering(said + b"1", said + b"2") as connect:
        streams = await connect()
        assert [(await ask(streams, "here", "/", keep=True)).body for _ in range(2)] == [b"1", b"2"]
        close(streams)


@pytest.mark.parametrize("head", [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_who_wants_the_status_alone_waits_for_no_long_body(head: bytes) -> None:
    async with answering(OK + head, then_end=False) as connect:
        streams = await connect()
        assert await asyncio.wait_for(ask_status(streams, "here", "/"), 5) == Answer(200, b"", keeps=False)
        close(streams)
