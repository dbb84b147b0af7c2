"""Real servers are scanned: what they agree to is found, strong and weak."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.edge import OWNERS, RESIDENTS, World, running_world
from troth.core.ca import Authority, LeafFiles, Subject, write_leaf
from troth.core.errors import PlatformError
from troth.core.process import Endpoint
from troth.core.promise import Finding
from troth.core.reach import PublicFace
from troth.hosting import doors
from troth.hosting.promises import probe_hsts, probe_https
from troth.hosting.tls import promise
from troth.hosting.tls.hello import Offer, Refused
from troth.hosting.tls.promise import Issue
from troth.hosting.tls.rating import rate
from troth.hosting.tls.scan import Server, ask, scan
from troth.hosting.tls.suites import CLASSIC, GROUPS, TLS_1_2, TLS_1_3

YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture
def face(world: World) -> PublicFace:
    return PublicFace(
        address="127.0.0.1",
        https_port=world.state.https_port,
        http_port=world.state.http_port,
        domains=(RESIDENTS, OWNERS),
        ca=world.authorities.ca("public"),
    )


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncGenerator[Endpoint]:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context) as server:
        yield Endpoint("127.0.0.1", int(server.sockets[0].getsockname()[1]))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path, "public", now=datetime.now(UTC))


def context_for(authority: Authority, folder: Path, name: str, ciphers: str) -> ssl.SSLContext:
    subject = Subject(common_name=name, dns=(name,), usage="server")
    leaf = write_leaf(
        authority.issue(subject, now=datetime.now(UTC), lifetime=timedelta(hours=1)), folder, "server"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    return context


async def test_the_edge_earns_the_best_grade_on_every_domain(face: PublicFace) -> None:
    finding = await promise.probe_ciphers(face)
    assert finding.verdict == "proved", finding
    assert "A+ (93" in finding.evidence
    assert "X25519MLKEM768 offered" in finding.evidence
    assert sorted(finding.raw) == [OWNERS, RESIDENTS]


async def test_everything_the_edge_agrees_to_is_found(face: PublicFace) -> None:
    seen = await scan(Server(Endpoint("127.0.0.1", face.https_port), RESIDENTS), face.ca)
    assert seen.versions == (TLS_1_2, TLS_1_3)
    assert [suite.code for suite in seen.suites] == [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xCCA9]
    assert [GROUPS[group][0] for group in seen.groups] == [
        "secp256r1",
        "secp384r1",
        "x25519",
        "X25519MLKEM768",
    ]
    assert (seen.distrust, seen.certificate.digest) == ("", "sha256")


async def test_whoever_claims_to_have_been_refused_a_newer_version_is_turned_away(face: PublicFace) -> None:
    """RFC 7507: nobody in between can talk a browser down to TLS 1.2."""
    falling = Offer(
        version=TLS_1_2, suites=tuple(CLASSIC), groups=tuple(GROUPS), name=RESIDENTS, falls_back=True
    )
    assert await ask(Endpoint("127.0.0.1", face.https_port), falling) == Refused(86)


async def test_a_weak_server_is_found_out(authority: Authority, tmp_path: Path) -> None:
    context = context_for(
        authority, tmp_path, "weak.example", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384"
    )
    async with listening(context) as place:
        seen = await scan(Server(place, "weak.example"), authority.certificate_file)
    assert [suite.name for suite in seen.suites] == [
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ]
    assert rate(seen, YEAR).grade == "B"


async def test_a_name_that_the_certificate_lacks_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    context = context_for(authority, tmp_path, "other.example", "ECDHE+AESGCM")
    async with listening(context) as place:
        seen = await scan(Server(place, "mine.example"), authority.certificate_file)
    assert "mine.example" in seen.distrust
    assert rate(seen, YEAR).grade == "T"


async def test_nobody_there_is_no_finding() -> None:
    with pytest.raises(PlatformError, match="did not answer"):
        await scan(Server(Endpoint("127.0.0.1", 1), "nobody.example"), Path("none.pem"))


@pytest.fixture
def issue(world: World) -> Issue:
    @contextmanager
    def made(domain: str) -> Generator[LeafFiles]:
        subject = Subject(common_name="drill", dns=(domain,), usage="server")
        yield world.authorities.leaf("public", subject, "drill")

    return made


async def test_the_drill_turns_the_promise_red_and_leaves_no_door_open(
    face: PublicFace, issue: Issue
) -> None:
    async with promise.drill(face, issue).broken() as probe:
        finding = await probe.look()
    assert finding.verdict == "broken"
    assert f"{RESIDENTS} earns B" in finding.evidence
    assert "authenticated encryption" in finding.evidence
    assert (await promise.probe(face).look()).verdict == "proved"


@pytest.mark.parametrize(
    ("name", "look", "evidence"),
    [
        ("data.https", probe_https, f"{RESIDENTS} answered 200 to a plain request."),
        ("data.hsts", probe_hsts, f"{RESIDENTS} sends no Strict-Transport-Security"),
    ],
)
async def test_a_careless_server_in_the_edges_place_turns_its_promise_red(
    name: str, look: Callable[[PublicFace], Awaitable[Finding]], evidence: str, face: PublicFace, issue: Issue
) -> None:
    (drill,) = [one for one in doors.drills(face, issue) if one.promise == name]
    async with drill.broken() as probe:
        finding = await probe.look()
    assert (probe.promise, finding.verdict) == (name, "broken")
    assert evidence in finding.evidence
    assert (await look(face)).verdict == "proved"
