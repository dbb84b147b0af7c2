"""Each verdict of the data probes can turn red; the searches are run on real files and sockets."""

import asyncio
import base64
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from troth.core.ca import Authority, Subject, write_leaf
from troth.core.process import Endpoint
from troth.data.canary import Search, new_marker, search
from troth.data.capture import Captured, HopSeen
from troth.data.internal_tls import Hops, Intrusion, judge_internal_tls, planted_hop, probe_internal_tls
from troth.data.intrusion import Port, Stranger, intrude
from troth.data.promises import (
    Seen,
    judge_encryption,
    judge_passwords,
    judge_replicas,
)
from troth.data.survivals import Survived

NOW = datetime.now(UTC)


def stored(rounds: int = 600_000, salt: bytes = b"0123456789abcdef", scheme: str = "pbkdf2-sha256") -> str:
    return f"{scheme}${rounds}${base64.b64encode(salt).decode().rstrip('=')}$aGFzaA"


def test_a_marker_is_found_however_it_is_spelled(tmp_path: Path) -> None:
    marker = new_marker()
    spelled = {
        "plain": marker.encode(),
        "wide": marker.encode("utf-16-le"),
        "hex": marker.encode().hex().encode(),
        "base64-0": base64.b64encode(b"abc" + marker.encode() + b"tail"),
        "base64-1": base64.b64encode(b"a" + marker.encode() + b"tail"),
        "base64url-2": base64.urlsafe_b64encode(b"ab" + marker.encode() + b"tail"),
    }
    for name, value in spelled.items():
        (tmp_path / name).write_bytes(b"\xff" * 5000 + value + b"\0" * 10)
    (tmp_path / "innocent").write_bytes(b"troth-canary-" + b"0" * 32)
    assert set(search(tmp_path, marker).found) == set(spelled)


def test_a_marker_across_the_border_of_two_reads_is_found(tmp_path: Path) -> None:
    marker = new_marker()
    border = 4 * 1024 * 1024
    (tmp_path / "big").write_bytes(b"x" * (border - 7) + marker.encode() + b"x" * 100)
    seen = search(tmp_path, marker)
    assert seen.found == ("big",)


def test_a_search_counts_what_it_read_and_skips_sockets_and_links(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"x" * 1234)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "file")
    assert search(tmp_path, new_marker()) == Search(files=1, size=1234, found=())


def test_a_readable_canary_or_a_weak_cipher_breaks_encryption() -> None:
    good = Search(3, 300, ())
    assert judge_encryption(good, "AES-256-GCM").verdict == "proved"
    assert judge_encryption(Search(3, 300, ("members/m1/base/5",)), "AES-256-GCM").verdict == "broken"
    assert judge_encryption(good, "AES-128-GCM").verdict == "broken"
    assert judge_encryption(Search(0, 0, ()), "AES-256-GCM").verdict == "unknown"


@pytest.mark.parametrize(
    ("rows", "verdict", "fault"),
    [
        ([], "unknown", "No password"),
        ([stored(), stored(salt=b"another-16-bytes")], "proved", "All 2"),
        ([stored(), stored()], "broken", "share a salt"),
        ([stored(rounds=599_999)], "broken", "fewer than 600,000"),
        ([stored(salt=b"short")], "broken", "salt below 16"),
        ([stored(scheme="sha256")], "broken", "not PBKDF2"),
        (["$argon2id$whatever"], "broken", "not PBKDF2"),
    ],
)
def test_every_stored_password_is_judged(rows: list[str], verdict: str, fault: str) -> None:
    finding = judge_passwords(rows)
    assert finding.verdict == verdict
    assert fault in finding.evidence


def test_imported_hashes_that_lie_wrapped_are_counted() -> None:
    wrapped = f"{stored(salt=b'another salt 123').rpartition('$')[0]}$sha256-salt-first::c2FsdA$"
    finding = judge_passwords([stored(), wrapped])
    assert finding.verdict == "proved"
    assert "1 of them came from another system" in finding.evidence
    assert judge_passwords([stored(), wrapped.replace("600000", "599999")]).verdict == "broken"


LEADER = Seen("member-1", "leader", "running")
STANDBYS = (Seen("member-2", "quorum_standby", "streaming"), Seen("member-3", "quorum_standby", "streaming"))


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ((LEADER, *STANDBYS), "proved"),
        ((LEADER, STANDBYS[0]), "broken"),
        ((LEADER, STANDBYS[0], Seen("member-3", "replica", "streaming")), "broken"),
        ((LEADER, STANDBYS[0], Seen("member-3", "quorum_standby", "starting")), "broken"),
        (STANDBYS, "broken"),
        ((), "broken"),
    ],
)
def test_a_set_that_could_lose_a_write_breaks_the_promise(members: tuple[Seen, ...], verdict: str) -> None:
    assert judge_replicas(members).verdict == verdict


def test_replicas_on_one_machine_are_called_so() -> None:
    assert "not redundant against its loss" in judge_replicas((LEADER, *STANDBYS)).evidence


def test_what_survived_the_last_failover_is_told_and_a_loss_breaks_the_promise() -> None:
    kept = Survived(after="failover", at="2026-11-25T12:00:00.000Z", acknowledged=9, survived=9)
    lost = Survived(after="failover", at="2026-11-25T12:00:00.000Z", acknowledged=9, survived=8)
    whole = judge_replicas((LEADER, *STANDBYS), last=kept)
    assert whole.verdict == "proved"
    assert "9 of 9 acknowledged writes survived the last failover (2026-11-25 12:00 UTC)." in whole.evidence
    broken = judge_replicas((LEADER, *STANDBYS), last=kept, loss=lost)
    assert broken.verdict == "broken"
    assert "8 of 9 acknowledged writes" in broken.evidence


def test_an_open_port_breaks_internal_tls_and_a_silent_one_proves_nothing() -> None:
    assert judge_internal_tls(Intrusion(("a",)), None).verdict == "proved"
    assert "not captured" in judge_internal_tls(Intrusion(("a",)), None).evidence
    assert judge_internal_tls(Intrusion(("a",), ("a let in plain text",)), None).verdict == "broken"
    assert judge_internal_tls(Intrusion(("a",), (), ("a",)), None).verdict == "unknown"
    assert judge_internal_tls(Intrusion(()), None).verdict == "unknown"


def test_a_capture_turns_internal_tls_red_for_one_readable_hop_and_proves_nothing_when_it_missed_any() -> (
    None
):
    good = HopSeen(name="web-1", verdicts={"tls": 7, "unknown": 1}, size=1_200_000)
    bad = HopSeen(name="port 23", verdicts={"plaintext": 1}, size=9, reasons=("it does not begin as TLS",))
    tried = Intrusion(("a",))
    seen = judge_internal_tls(tried, Captured(hops=(good,), packets=50))
    assert seen.verdict == "proved"
    assert "7 connections of 1 ports with 1.2 MB were TLS (1 more that rested" in seen.evidence
    red = judge_internal_tls(tried, Captured(hops=(good, bad), packets=60))
    assert (red.verdict, red.evidence) == (
        "broken",
        "port 23 carried what is not TLS: it does not begin as TLS.",
    )
    assert judge_internal_tls(tried, Captured(hops=(good,), packets=50, dropped=1)).verdict == "unknown"
    assert judge_internal_tls(tried, Captured(hops=(good,), packets=50, unseen=1)).verdict == "unknown"


async def test_a_planted_plain_hop_turns_the_probe_red_and_leaves_no_port_behind(tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "theirs", "stranger", now=NOW)
    leaf = ours.issue(Subject(common_name="x", usage="client"), now=NOW, lifetime=timedelta(hours=1))
    files = write_leaf(leaf, tmp_path, "stranger")
    async with planted_hop() as place:

        async def ports() -> tuple[Port, ...]:
            return (Port("planted", place, "https"),)

        async def captured() -> None:
            return None

        hops = Hops(ports, Stranger(files.certificate, files.key), captured)
        found = await probe_internal_tls(hops)
        assert (found.verdict, found.evidence) == ("broken", "planted let in plain text.")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(place.host, place.port)


async def _serve(context: ssl.SSLContext | None) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)


@pytest.mark.parametrize("guard", ["plain", "tls", "mutual"])
async def test_only_a_port_with_mutual_tls_keeps_the_intruder_out(guard: str, tmp_path: Path) -> None:
    ours = Authority.open(tmp_path / "ours", "instances", now=NOW)
    theirs = Authority.open(tmp_path / "theirs", "stranger", now=NOW)
    server_leaf = write_leaf(
        ours.issue(Subject(common_name="s", usage="server"), now=NOW, lifetime=timedelta(hours=1)),
        tmp_path,
        "server",
    )
    stranger_leaf = write_leaf(
        theirs.issue(Subject(common_name="x", usage="client"), now=NOW, lifetime=timedelta(hours=1)),
        tmp_path,
        "stranger",
    )
    context = None
    if guard != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_leaf.certificate, server_leaf.key)
    if context and guard == "mutual":
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=ours.certificate_pem.decode())
    server = await _serve(context)
    host, port = server.sockets[0].getsockname()[:2]
    async with server:
        ways = await intrude(
            Port("toy", Endpoint(host, port), "https"), Stranger(stranger_leaf.certificate, stranger_leaf.key)
        )
    expected = {
        "plain": ("plain text",),
        "tls": ("TLS without a certificate", "TLS with a stranger's certificate"),
        "mutual": (),
    }
    assert ways == expected[guard]


@pytest.mark.parametrize("protocol", ["https", "postgres"])
async def test_a_port_that_never_answers_is_an_error_and_no_proof(
    protocol: Literal["https", "postgres"], tmp_path: Path
) -> None:
    authority = Authority.open(tmp_path / "theirs", "stranger", now=NOW)
    leaf = write_leaf(
        authority.issue(Subject(common_name="x", usage="client"), now=NOW, lifetime=timedelta(hours=1)),
        tmp_path,
        "stranger",
    )
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen()  # the kernel accepts, nobody reads
        port = Port("toy", Endpoint("127.0.0.1", hung.getsockname()[1]), protocol)
        with pytest.raises(TimeoutError):
            await intrude(port, Stranger(leaf.certificate, leaf.key), seconds=0.2)


async def test_a_closed_port_is_an_error_and_no_proof(tmp_path: Path) -> None:
    server = await _serve(None)
    host, port = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    authority = Authority.open(tmp_path / "theirs", "stranger", now=NOW)
    leaf = write_leaf(
        authority.issue(Subject(common_name="x", usage="client"), now=NOW, lifetime=timedelta(hours=1)),
        tmp_path,
        "stranger",
    )
    with pytest.raises(ConnectionRefusedError):
        await intrude(Port("toy", Endpoint(host, port), "https"), Stranger(leaf.certificate, leaf.key))
