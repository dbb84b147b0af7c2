"""data.ciphers: every domain is scanned and earns A+; in its drill a weak server stands in for the edge."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import timedelta

import msgspec

from troth.core.ca import LeafFiles
from troth.core.process import Endpoint
from troth.core.promise import Drill, Finding, Probe
from troth.core.reach import PublicFace, Visitor
from troth.hosting.tls.hsts import read_max_age
from troth.hosting.tls.rating import Rating, rate
from troth.hosting.tls.scan import Scan, Server, scan
from troth.hosting.tls.suites import GROUPS, POST_QUANTUM, VERSIONS

ID = "data.ciphers"

Issue = Callable[[str], AbstractContextManager[LeafFiles]]
"""A certificate for a domain, by the authority that visitors trust, for as long as its block lasts."""


class Rated(msgspec.Struct, frozen=True):
    """What one domain earned."""

    domain: str
    rating: Rating
    scan: Scan


def probe(face: PublicFace) -> Probe:
    """The probe of this promise."""
    return Probe(ID, lambda: probe_ciphers(face))


def drill(face: PublicFace, issue: Issue) -> Drill:
    """The drill of this promise."""
    return Drill(ID, "a server with weak TLS stood in the edge's place", lambda: _weakened(face, issue))


async def probe_ciphers(face: PublicFace, at: Endpoint | None = None) -> Finding:
    """Scan and rate every domain, at the edge unless `at` says elsewhere."""
    place = at or Endpoint(face.address, face.https_port)
    ages = await _max_ages(face)
    rated: list[Rated] = []
    for domain in face.domains:
        seen = await scan(Server(place, domain), face.ca)
        rated.append(Rated(domain, rate(seen, ages[domain]), seen))
    return judge_ciphers(tuple(rated), face.visited)


async def _max_ages(face: PublicFace) -> dict[str, timedelta | None]:
    ages: dict[str, timedelta | None] = {}
    async with Visitor(face) as visitor:
        for domain in face.domains:
            answer = await visitor.request("GET", domain, "/login")
            seconds = read_max_age(answer.headers.get("strict-transport-security", ""))
            ages[domain] = None if seconds is None else timedelta(seconds=seconds)
    return ages


def judge_ciphers(rated: tuple[Rated, ...], visited: str) -> Finding:
    """The verdict: anything below A+ breaks the promise, and the evidence says why."""
    raw: dict[str, object] = {one.domain: msgspec.to_builtins(one.rating) for one in rated}
    if not rated:
        return Finding("unknown", "There is no domain to scan.", raw)
    below = [one for one in rated if one.rating.grade != "A+"]
    if below:
        told = "; ".join(
            f"{one.domain} earns {one.rating.grade}: {', '.join(one.rating.objections) or 'its scores'}"
            for one in below[:5]
        )
        return Finding("broken", f"{told}.", raw)
    score = min(one.rating.score for one in rated)
    versions = sorted({version for one in rated for version in one.scan.versions})
    quantum = all(POST_QUANTUM & set(one.scan.groups) for one in rated)
    offered = f", {GROUPS[0x11EC][0]} offered" if quantum else ""
    return Finding(
        "proved",
        f"{visited} scanned: A+ ({score} of 100 or more) by the SSL Labs guide, "
        f"{' and '.join(VERSIONS[version] for version in versions)} alone, each suite with forward secrecy "
        f"and authenticated encryption{offered}; rated as if the authority of local names were a public one.",
        raw,
    )


@asynccontextmanager
async def _weakened(face: PublicFace, issue: Issue) -> AsyncGenerator[Probe]:
    one = msgspec.structs.replace(face, domains=face.domains[:1])
    with issue(one.domains[0]) as leaf:
        async with _weak_door(leaf) as place:
            yield Probe(ID, lambda: probe_ciphers(one, place))


@asynccontextmanager
async def _weak_door(leaf: LeafFiles) -> AsyncGenerator[Endpoint]:
    """TLS 1.2 with CBC alone, on a port of loopback that nobody is told of."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA")

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Endpoint("127.0.0.1", int(server.sockets[0].getsockname()[1]))
