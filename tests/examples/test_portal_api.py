"""The portal's way to the data API: over mutual TLS, within bounds of time and size."""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from portal import api
from portal.api import Errand, open_api
from portal.errors import Unreachable

from troth.core.ca import Authority, Subject, write_leaf

NOW = datetime.now(UTC)
ERRAND = Errand("residents.localhost:8443", "token", "request-1")
README = Path(__file__).parents[2] / "examples" / "residents" / "README.md"
EMPTY = b'{"items":[],"next":null}'

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


def issue(folder: Path, authority: str, *, server: bool) -> tuple[Path, Path, Path]:
    """The authority's certificate, and a leaf's certificate and key."""
    signer = Authority.open(folder, authority, now=NOW)
    subject = Subject(common_name=f"{authority}-1", usage="server" if server else "client")
    files = write_leaf(
        signer.issue(subject, now=NOW, lifetime=timedelta(hours=1)), folder, f"{authority}-leaf"
    )
    return signer.certificate_file, files.certificate, files.key


@asynccontextmanager
async def serve(folder: Path, answer: Answer) -> AsyncGenerator[dict[str, str]]:
    """A TLS server that asks for a certificate of `apps`, as the edge's private listener does; yields the
    environment of an application."""
    instances, certificate, key = issue(folder, "instances", server=True)
    apps, client_certificate, client_key = issue(folder, "apps", server=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(apps)
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield {
            "TROTH_API_URL": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "TROTH_API_CA": str(instances),
            "TROTH_API_CERTIFICATE": str(client_certificate),
            "TROTH_API_KEY": str(client_key),
        }


def answer_with(body: bytes, *, seen: list[bytes] | None = None) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(request)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        )
        writer.write(b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return answer


async def ask(environment: dict[str, str]) -> api.Listing:
    data = open_api(environment)
    try:
        return await data.list(ERRAND, "tickets", limit=5)
    finally:
        await data.close()


async def test_the_client_shows_its_certificate_and_names_the_domain(tmp_path: Path) -> None:
    seen: list[bytes] = []
    async with serve(tmp_path, answer_with(EMPTY, seen=seen)) as environment:
        listing = await ask(environment)

    assert listing.documents == ()
    request = seen[0].decode().lower()
    assert "host: residents.localhost:8443\r\n" in request
    assert "authorization: bearer token\r\n" in request
    assert "accept-encoding: identity\r\n" in request


async def test_a_server_of_another_authority_is_not_talked_to(tmp_path: Path) -> None:
    seen: list[bytes] = []
    stranger = Authority.open(tmp_path / "elsewhere", "instances", now=NOW).certificate_file
    async with serve(tmp_path, answer_with(EMPTY, seen=seen)) as environment:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(environment | {"TROTH_API_CA": str(stranger)})
    assert seen == []


async def test_a_silent_api_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TIMEOUT_SECONDS", 0.2)
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # until the client hangs up
        writer.close()

    async with serve(tmp_path, say_nothing) as environment:
        with pytest.raises(Unreachable, match="Timeout"):
            await ask(environment)
    assert asked.is_set()


async def test_an_answer_that_drips_is_given_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "TIMEOUT_SECONDS", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serve(tmp_path, drip) as environment:
        with pytest.raises(Unreachable):
            await asyncio.wait_for(ask(environment), 5)


async def test_a_connection_that_ends_early_is_tried_once_more(tmp_path: Path) -> None:
    seen: list[bytes] = []
    answer = answer_with(EMPTY, seen=seen)

    async def hang_up_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not seen:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()
            return
        await answer(reader, writer)

    async with serve(tmp_path, hang_up_first) as environment:
        assert (await ask(environment)).documents == ()
        data = open_api(environment)
        seen.clear()
        with pytest.raises(Unreachable):
            await data.change(ERRAND, "tickets", UUID(int=1), {"status": "done"}, version=1)
        await data.close()
    assert len(seen) == 1  # a change is not repeated: it may have arrived


async def test_nobody_listening_is_told(tmp_path: Path) -> None:
    async with serve(tmp_path, answer_with(EMPTY)) as environment:
        pass
    with pytest.raises(Unreachable, match="ConnectError"):
        await ask(environment)


async def test_the_application_of_the_readme_passes_the_token_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert source
    seen: list[bytes] = []
    async with serve(tmp_path, answer_with(EMPTY, seen=seen)) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        names: dict[str, Any] = {}
        exec(compile(source[1], README, "exec"), names)  # noqa: S102  it is ours
        browser = httpx.AsyncClient(transport=httpx.ASGITransport(names["app"]), base_url="https://x")
        headers = {"Host": ERRAND.host, "Authorization": "Bearer token", "Cookie": "taste=sweet"}
        answer = await browser.get("/", headers=headers)
        await names["api"].aclose()

    assert answer.content == EMPTY
    request = seen[0].decode().lower()
    assert f"host: {ERRAND.host}\r\n" in request
    assert "authorization: bearer token\r\n" in request
    assert "cookie" not in request


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="TROTH_API_CA"):
        open_api({})
