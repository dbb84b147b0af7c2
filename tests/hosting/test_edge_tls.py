"""Who gets a connection to a real edge, and how strong it is."""

import asyncio
import os
import ssl
import struct
import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from support.edge import OWNERS, RESIDENTS, World, running_world, told, udp_bound
from support.quic import VERSION_1, versions
from support.waiting import until
from troth.core.ca import LeafFiles, Subject


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


async def shake(
    world: World, context: ssl.SSLContext, name: str | None, port: int | None = None
) -> ssl.SSLObject:
    """A handshake alone; returns what was agreed."""
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port or world.state.https_port, ssl=context, server_hostname=name or ""
    )
    agreed = writer.get_extra_info("ssl_object")
    writer.transport.abort()
    return agreed


def blind() -> ssl.SSLContext:
    """A client that believes anything, to see what is shown to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("domain", [RESIDENTS, OWNERS])
async def test_each_domain_shows_its_own_certificate(world: World, domain: str) -> None:
    certificate = (await shake(world, world.trust(), domain)).getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", domain), ("DNS", f"mtls.{domain}"))


@pytest.mark.parametrize("name", [None, "unknown.example", "localhost", f"x.{RESIDENTS}"])
async def test_an_unknown_name_is_shown_no_certificate_at_all(world: World, name: str | None) -> None:
    with pytest.raises(ssl.SSLError):
        await shake(world, blind(), name)


async def test_a_connection_for_one_domain_does_not_speak_for_another(world: World) -> None:
    request = f"GET /login HTTP/1.1\r\nHost: {OWNERS}\r\nConnection: close\r\n\r\n".encode()
    answer = await world.raw(request, domain=RESIDENTS)
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"Strict-Transport-Security: max-age=63072000; includeSubDomains; preload" in answer


@pytest.mark.parametrize("host", ["unknown.example", "127.0.0.1", ""])
async def test_an_unknown_host_is_misdirected(world: World, host: str) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    assert (await world.raw(request)).startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 "))


async def test_tls_1_3_is_spoken_by_default(world: World) -> None:
    assert (await shake(world, world.trust(), RESIDENTS)).version() == "TLSv1.3"


STRONG = ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]
WEAK = ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"]


def only(world: World, cipher: str) -> ssl.SSLContext:
    context = world.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("cipher", STRONG)
async def test_tls_1_2_is_spoken_with_authenticated_forward_secret_ciphers(world: World, cipher: str) -> None:
    agreed = (await shake(world, only(world, cipher), RESIDENTS)).cipher()
    assert agreed is not None
    assert agreed[0] == cipher


@pytest.mark.parametrize("cipher", WEAK)
async def test_weaker_ciphers_are_refused(world: World, cipher: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await shake(world, only(world, cipher), RESIDENTS)


X25519_MLKEM768 = 4588
"""Its number among the named groups of TLS (IANA registry)."""


def extension(number: int, content: bytes) -> bytes:
    return struct.pack("!HH", number, len(content)) + content


def undecided_hello(name: str, groups: list[int]) -> bytes:
    """A ClientHello of TLS 1.3 that offers groups but no key for any, so that the server has to name one."""
    listed = struct.pack(f"!{len(groups)}H", *groups)
    host = name.encode()
    extensions = b"".join(
        (
            extension(0, struct.pack("!HBH", len(host) + 3, 0, len(host)) + host),
            extension(10, struct.pack("!H", len(listed)) + listed),
            extension(13, bytes.fromhex("0006040308040401")),
            extension(43, bytes.fromhex("020304")),
            extension(51, bytes(2)),
        )
    )
    suites = bytes.fromhex("0006130113021303")
    body = b"\3\3" + os.urandom(32) + b"\x20" + os.urandom(32) + suites + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack("!H", len(message)) + message


@pytest.mark.parametrize("offered", [[X25519_MLKEM768, 29, 23], [29, 23, X25519_MLKEM768]])
async def test_the_hybrid_post_quantum_group_is_preferred_wherever_a_client_lists_it(
    world: World, offered: list[int]
) -> None:
    """RFC 8446, section 4.1.4: the HelloRetryRequest names the group that the server wants a key for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.state.https_port)
    writer.write(undecided_hello(RESIDENTS, offered))
    record = await reader.readexactly(5)
    answer = await reader.readexactly(int.from_bytes(record[3:], "big"))
    writer.transport.abort()
    assert (record[0], answer[0]) == (22, 2)
    assert extension(51, struct.pack("!H", X25519_MLKEM768)) in answer


async def test_http_2_is_agreed_and_http_3_announced_and_listening(world: World) -> None:
    context = world.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert (await shake(world, context, RESIDENTS)).selected_alpn_protocol() == "h2"
    async with world.browser() as browser:
        announced = (await browser.get("/login")).headers["alt-svc"]
    assert announced.startswith(f'h3=":{world.state.https_port}"')
    assert udp_bound(world.state.https_port)


async def test_quic_version_1_is_offered_to_who_asks_for_an_unknown_version(world: World) -> None:
    offered = await asyncio.to_thread(versions, "127.0.0.1", world.state.https_port)
    assert VERSION_1 in offered


async def plain(world: World, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.state.http_port)
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("path", ["/", "/login?x=1&y=%2F", "/api/v1/x", "/.troth/ready"])
async def test_plain_http_is_redirected_to_the_same_host_and_gets_nothing_more(
    world: World, method: str, path: str
) -> None:
    host = f"{RESIDENTS}:{world.state.http_port}"
    head, _, body = (
        await plain(world, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    ).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("HTTP/1.1 308 ")
    assert f"Location: https://{RESIDENTS}:{world.state.https_port}{path}" in lines
    assert body == b""
    names = {line.partition(":")[0] for line in lines[1:]}
    assert names == {"Location", "Connection", "Date", "Content-Length"}


async def test_plain_http_for_what_is_no_path_leads_nowhere(world: World) -> None:
    host = f"{RESIDENTS}:{world.state.http_port}"
    for target in ("x:.evil.example/", "x:@evil.example/", "*"):
        answer = await plain(world, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 421 ")
        assert b"Location" not in answer


@pytest.mark.parametrize(
    "host", ["unknown.example", "127.0.0.1", f"evil.example#{RESIDENTS}", f"{RESIDENTS}.evil.example"]
)
async def test_plain_http_for_an_unknown_host_is_refused(world: World, host: str) -> None:
    answer = await plain(world, f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 "))
    assert b"Location" not in answer


async def test_http_2_without_tls_is_not_spoken(world: World) -> None:
    preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    assert (await plain(world, preface))[:1] in (b"", b"H")


def app_leaf(world: World, authority: str = "apps") -> LeafFiles:
    subject = Subject(common_name="portal-0", usage="client", uri="spiffe://troth/app/portal")
    return world.authorities.leaf(authority, subject, f"client-of-{authority}")


async def call_private(
    world: World, path: str, leaf: LeafFiles | None, host: str = RESIDENTS, **more: str
) -> httpx.Response:
    url = f"https://{world.state.private.endpoint}{path}"
    context = world.trust(certificate=leaf, ca="instances")
    async with httpx.AsyncClient(verify=context) as client:
        headers = {"Host": f"{host}:{world.state.https_port}", "X-Troth-Person": "forged"}
        return await client.get(url, headers={**headers, **more})


async def test_an_application_reaches_the_api_of_a_domain_with_its_certificate(world: World) -> None:
    answer = await call_private(world, "/api/v1/tickets", app_leaf(world))
    assert answer.json()["name"].startswith("web-")
    assert told(answer)["host"] == [f"{RESIDENTS}:{world.state.https_port}"]
    assert "x-troth-person" not in told(answer)


@pytest.mark.parametrize(
    "path", ["/login", "/oauth/token", "/session", "/internal/forward", "/", "/.troth/ready"]
)
async def test_an_application_reaches_nothing_but_the_api(world: World, path: str) -> None:
    assert (await call_private(world, path, app_leaf(world))).status_code == 404


async def test_an_application_passes_on_the_number_of_the_request_that_it_works_on(world: World) -> None:
    number = str(uuid.uuid4())
    passed_on = await call_private(world, "/api/v1/x", app_leaf(world), **{"X-Request-Id": number})
    assert told(passed_on)["x-request-id"] == [number]
    await until(lambda: f'"request_id":"{number}"' in world.state.access_log.read_text())


@pytest.mark.parametrize("forged", ["forged", "a" * 36, ""])
async def test_what_is_no_number_of_a_request_is_replaced(world: World, forged: str) -> None:
    answer = await call_private(world, "/api/v1/x", app_leaf(world), **{"X-Request-Id": forged})
    (number,) = told(answer)["x-request-id"]
    assert str(uuid.UUID(number)) == number


async def test_an_application_reaches_no_unknown_domain(world: World) -> None:
    assert (await call_private(world, "/api/v1/x", app_leaf(world), "unknown.example")).status_code == 404


@pytest.mark.parametrize("authority", [None, "callers", "instances", "public"])
async def test_the_private_listener_refuses_every_other_certificate(
    world: World, authority: str | None
) -> None:
    leaf = app_leaf(world, authority) if authority else None
    with pytest.raises((httpx.TransportError, ssl.SSLError)):
        await call_private(world, "/api/v1/x", leaf)
