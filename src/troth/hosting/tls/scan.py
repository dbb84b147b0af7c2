"""Ask a server, one connection for each question, which versions, suites and groups it agrees to.

What it chose is struck off the next offer, until it refuses: so everything is found with one connection more
than there is to find. A scan is bounded in connections, bytes and time.
"""

import asyncio
import secrets
import ssl
from pathlib import Path

import msgspec

from troth.core.certificate_facts import CertificateFacts, read_certificate
from troth.core.errors import PlatformError
from troth.core.process import Endpoint
from troth.hosting.tls.hello import MOST_BYTES, Agreed, Offer, Refused, Unreadable, read_answer, write_hello
from troth.hosting.tls.suites import (
    CLASSIC,
    GROUPS,
    MODERN,
    SSL_3,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    Suite,
)

SECONDS = 5.0
"""For one question."""


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a server agreed to. `distrust` says why its certificate was not accepted; empty when it was."""

    versions: tuple[int, ...]
    suites: tuple[Suite, ...]
    groups: tuple[int, ...]
    dh_bits: tuple[int, ...]
    certificate: CertificateFacts
    distrust: str
    compresses: bool = False
    renegotiates_unsafely: bool = False
    beats: bool = False


class Server(msgspec.Struct, frozen=True):
    """Where and under which name to ask."""

    endpoint: Endpoint
    name: str


async def scan(server: Server, trust: Path) -> Scan:
    """Everything about one name. Raises PlatformError when nobody answers there."""
    answers: list[Agreed] = []
    for version, suites in (
        (TLS_1_3, tuple(MODERN)),
        (TLS_1_2, tuple(CLASSIC)),
        (TLS_1_1, tuple(CLASSIC)),
        (TLS_1_0, tuple(CLASSIC)),
        (SSL_3, tuple(CLASSIC)),
    ):
        answers += await _agreed(server, version, suites)
    answers += await _agreed_groups(server, answers)
    if not answers:
        raise PlatformError(f"{server.name} does not agree to any version of TLS.", detail=str(server))
    certificate, distrust = await _certificate(server, trust)
    return Scan(
        versions=tuple(sorted({one.version for one in answers})),
        suites=tuple(Suite(code) for code in sorted({one.suite for one in answers})),
        groups=tuple(sorted({one.group for one in answers if one.group})),
        dh_bits=tuple(sorted({one.dh_bits for one in answers if one.dh_bits})),
        certificate=certificate,
        distrust=distrust,
        compresses=any(one.compresses for one in answers),
        renegotiates_unsafely=any(not one.renegotiates_safely for one in answers if one.version < TLS_1_3),
        beats=any(one.beats for one in answers),
    )


async def _agreed(server: Server, version: int, suites: tuple[int, ...]) -> list[Agreed]:
    """Every suite of one version, in the server's order."""
    found: list[Agreed] = []
    left: tuple[int, ...] = suites
    while left:
        offer = Offer(version=version, suites=left, groups=tuple(GROUPS), name=server.name)
        answer = await ask(server.endpoint, offer)
        if isinstance(answer, Refused) or answer.version != version or answer.suite not in left:
            break  # whoever answers with another version or suite than was asked for, has not agreed
        found.append(answer)
        left = tuple(one for one in left if one != answer.suite)
    return found


async def _agreed_groups(server: Server, known: list[Agreed]) -> list[Agreed]:
    """Every group of the newest version that the server speaks."""
    versions = {one.version for one in known}
    if not versions & {TLS_1_2, TLS_1_3}:
        return []
    version = max(versions)
    suites = tuple(one.suite for one in known if one.version == version)
    found: list[Agreed] = []
    left: tuple[int, ...] = tuple(GROUPS)
    while left:
        answer = await ask(
            server.endpoint, Offer(version=version, suites=suites, groups=left, name=server.name)
        )
        if isinstance(answer, Refused) or answer.group not in left:
            break
        found.append(answer)
        left = tuple(one for one in left if one != answer.group)
    return found


async def ask(endpoint: Endpoint, offer: Offer) -> Agreed | Refused:
    """The server's choice. Raises PlatformError when it cannot be reached, is silent or talks nonsense."""
    try:
        async with asyncio.timeout(SECONDS):
            return await _ask(endpoint, offer)
    except (OSError, TimeoutError, Unreadable) as error:
        raise PlatformError(f"{offer.name} did not answer a TLS hello.", detail=repr(error)) from error


async def _ask(endpoint: Endpoint, offer: Offer) -> Agreed | Refused:
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    try:
        writer.write(write_hello(offer, secrets.token_bytes(64)))
        sent = b""
        while len(sent) < MOST_BYTES:
            try:
                more = await reader.read(MOST_BYTES - len(sent))
            except ConnectionResetError:
                more = b""
            sent += more
            answer = read_answer(sent, ended=not more)
            if answer is not None:
                return answer
        raise Unreadable("it says more than a hello")
    finally:
        writer.transport.abort()


async def _certificate(server: Server, trust: Path) -> tuple[CertificateFacts, str]:
    """The certificate that is shown under the name, and why a client would not trust it."""
    judging = ssl.create_default_context(cafile=str(trust))
    distrust = ""
    try:
        await _shown(server, judging)
    except ssl.SSLCertVerificationError as error:
        distrust = error.verify_message
    taking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    taking.check_hostname = False
    taking.verify_mode = ssl.CERT_NONE  # only looked at; whether it is to be trusted was asked above
    return read_certificate(await _shown(server, taking)), distrust


async def _shown(server: Server, context: ssl.SSLContext) -> bytes:
    # Weak servers have to be looked at too, so nothing but the certificate is judged here.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    async with asyncio.timeout(SECONDS):
        _, writer = await asyncio.open_connection(
            server.endpoint.host, server.endpoint.port, ssl=context, server_hostname=server.name
        )
    try:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert isinstance(shown, bytes)
        return shown
    finally:
        writer.transport.abort()
