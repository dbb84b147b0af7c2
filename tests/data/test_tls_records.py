"""A stream is called TLS for its records, and for nothing less."""

from itertools import cycle
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tls_bytes import Said, converse, server_context
from troth.data.conversations import Conversation, Datagrams, Judged, Speech
from troth.data.tls_records import LONGEST, Reader, Side

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
QUESTION = b"GET /health HTTP/1.1\r\nHost: portal\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """A conversation over TLS 1.3 with an answer of many records."""
    server = server_context(tmp_path_factory.mktemp("wire"))
    return converse(server, ("client", QUESTION), ("server", ANSWER * 2000), ("client", b"more"))


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Said:
    """The same over TLS 1.2."""
    server = server_context(tmp_path_factory.mktemp("older"))
    return converse(server, ("client", QUESTION), ("server", ANSWER), newest=False)


def judge(said: Said, speech: Speech = "tls", *, whole: bool = True, pieces: int = 0) -> Judged:
    """The verdict on a conversation, its bytes in pieces of a size."""
    talk = Conversation(speech, whole=whole)
    for side, data in said:
        step = pieces or max(len(data), 1)
        for at in range(0, len(data), step):
            talk.feed(side, data[at : at + step])
    return talk.judge()


@pytest.mark.parametrize("pieces", [1, 2, 5, 7, 1460, 0])
def test_real_tls_is_tls_however_it_is_cut(tls: Said, older: Said, pieces: int) -> None:
    assert judge(tls, pieces=pieces).verdict == "tls"
    assert judge(older, pieces=pieces).verdict == "tls"


def test_plain_http_is_plaintext(tls: Said) -> None:
    assert judge([("client", QUESTION), ("server", ANSWER)]).verdict == "plaintext"
    assert judge([("client", QUESTION), ("server", ANSWER)], pieces=1).verdict == "plaintext"


def test_one_plain_byte_within_tls_makes_it_plaintext(tls: Said) -> None:
    assert judge([*tls, ("client", QUESTION)]).verdict == "plaintext"
    assert judge([*tls, ("server", b"\0")]).verdict == "plaintext"


def test_a_handshake_and_plain_text_after_it_is_plaintext(tls: Said) -> None:
    hellos = [tls[0], tls[1]]
    assert judge([*hellos, ("client", QUESTION)]).verdict == "plaintext"


def test_records_without_a_handshake_are_plaintext() -> None:
    wrapped = b"\x17\x03\x03" + len(QUESTION).to_bytes(2) + QUESTION
    assert judge([("client", wrapped), ("server", wrapped)]).verdict == "plaintext"


def test_handshake_records_that_hold_no_hello_are_plaintext(tls: Said) -> None:
    wrapped = b"\x16\x03\x03" + len(QUESTION).to_bytes(2) + QUESTION
    assert (
        judge([("client", wrapped)]).verdict == "plaintext"
        or judge([("client", wrapped)]).verdict == "refused"
    )
    assert judge([("client", wrapped), ("server", ANSWER)]).verdict == "plaintext"
    assert judge([tls[0], ("server", wrapped)]).verdict == "plaintext"


def test_a_cipher_suite_that_encrypts_nothing_is_plaintext(tls: Said) -> None:
    """TLS_SHA256_SHA256 of RFC 9150 has the same records and no secret."""
    hello = bytearray(tls[1][1])
    place = 5 + 39 + hello[5 + 38]
    assert hello[place] == 0x13
    hello[place : place + 2] = (0xC0B4).to_bytes(2)
    seen = judge([tls[0], ("server", bytes(hello)), *tls[2:]])
    assert seen.verdict == "plaintext"
    assert "0xc0b4" in seen.why


def test_tls_1_0_is_not_taken_for_tls(tls: Said) -> None:
    hello = bytearray(tls[1][1])
    hello[2] = 1
    assert judge([tls[0], ("server", bytes(hello))]).verdict == "plaintext"


def test_a_refused_handshake_is_tls(tls: Said) -> None:
    assert judge([tls[0], ("server", b"\x15\x03\x03\x00\x02\x02\x28")]).verdict == "tls"


def test_an_alert_and_then_data_is_no_tls(tls: Said) -> None:
    alert = b"\x15\x03\x03\x00\x02\x02\x28"
    wrapped = b"\x17\x03\x03" + len(ANSWER).to_bytes(2) + ANSWER
    assert judge([tls[0], ("server", alert + wrapped)]).verdict == "plaintext"


def test_a_plain_request_that_is_told_nothing_was_refused() -> None:
    refusals = (b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x46")
    for refusal in refusals:
        assert judge([("client", QUESTION), ("server", refusal)]).verdict == "refused", refusal
    assert judge([("client", QUESTION * 200), ("server", b"")]).verdict == "plaintext", "a stream, one way"


def test_postgresql_has_to_ask_for_tls_first(tls: Said) -> None:
    agreed: Said = [("client", SSL_REQUEST), ("server", b"S"), *tls]
    assert judge(agreed, "postgres").verdict == "tls"
    assert judge(agreed, "postgres", pieces=1).verdict == "tls"
    assert judge(tls, "postgres").verdict == "tls", "directly, as PostgreSQL 17 can"
    assert judge(agreed, "tls").verdict == "plaintext", "on a port that speaks something else"


def test_postgresql_that_goes_on_in_the_clear_is_plaintext() -> None:
    startup = bytes.fromhex("00000020 00030000") + b"user\0troth_app\0\0"
    ready = b"R\0\0\0\x08\0\0\0\0"
    no: Said = [("client", SSL_REQUEST), ("server", b"N"), ("client", startup), ("server", ready)]
    assert judge(no, "postgres").verdict == "plaintext"
    assert judge([("client", startup), ("server", ready)], "postgres").verdict == "plaintext"
    cancel = bytes.fromhex("00000010 04d2162e 00000001 00000002")
    assert judge([("client", cancel)], "postgres").verdict == "plaintext", "it shows the key that cancels"
    denied = b"E\0\0\0\x50SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry, no encryption\0\0"
    assert judge([("client", startup), ("server", denied)], "postgres").verdict == "refused"


def test_smtp_may_greet_before_it_turns_to_tls(tls: Said) -> None:
    greeting: Said = [
        ("server", b"220 relay.example ESMTP\r\n"),
        ("client", b"EHLO troth\r\n"),
        ("server", b"250-relay.example\r\n250 STARTTLS\r\n"),
        ("client", b"STARTTLS\r\n"),
        ("server", b"220 go ahead\r\n"),
    ]
    assert judge([*greeting, *tls], "smtp").verdict == "tls"
    assert judge([*greeting, *tls], "smtp", pieces=1).verdict == "tls"
    early: Said = [
        *greeting[:3],
        ("client", b"MAIL FROM:<anna@lindenhof.example>\r\n"),
        ("server", b"250 ok\r\n"),
    ]
    assert judge(early, "smtp").verdict == "plaintext"
    assert judge([*greeting, ("client", b"MAIL FROM:<a@b.example>\r\n")], "smtp").verdict == "plaintext"


def test_the_port_for_plain_http_may_redirect_and_nothing_else() -> None:
    moved = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://residents.localhost/\r\n\r\n"
    assert judge([("client", QUESTION), ("server", moved)], "redirect").verdict == "redirected"
    assert judge([("client", QUESTION), ("server", ANSWER)], "redirect").verdict == "plaintext"


@pytest.mark.parametrize("cut", [0, 1, 700, 20_000])
def test_a_stream_under_way_is_found_by_its_records(tls: Said, cut: int) -> None:
    answer = max((data for side, data in tls if side == "server"), key=len)
    seen = judge([("server", answer[cut:])], whole=False, pieces=1460)
    assert seen.verdict == "resumed"


def test_one_record_of_a_stream_under_way_is_too_little() -> None:
    record = b"\x17\x03\x03\x00\x20" + bytes(range(100, 132))
    assert judge([("client", record)], whole=False).verdict == "unknown"
    assert judge([("client", record), ("client", record)], whole=False).verdict == "resumed"


def test_text_under_way_is_plaintext_at_once() -> None:
    assert judge([("server", ANSWER)], whole=False).verdict == "plaintext"


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), step=st.integers(500, 65_000))
def test_random_bytes_under_way_are_plaintext_in_the_end(seed: int, step: int) -> None:
    data = Random(seed).randbytes(3 * (LONGEST + 5))
    reader = Reader("server", whole=False)
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
    assert reader.state == "plain"


@given(
    first=st.binary(min_size=1, max_size=64),
    side=st.sampled_from(("client", "server")),
    step=st.integers(1, 64),
)
def test_no_bytes_but_a_hello_open_a_stream(first: bytes, side: Side, step: int) -> None:
    """Whatever does not begin like TLS is never called TLS, in whatever pieces it comes."""
    reader = Reader(side, whole=True)
    for at in range(0, len(first), step):
        reader.feed(first[at : at + step])
    like = first[0] in (22, 21) and first[1:2] in (b"", b"\x03")
    assert reader.state == "plain" or like


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 3000), min_size=1, max_size=60))
def test_the_verdict_does_not_depend_on_the_cuts(example: "Example", cuts: list[int]) -> None:
    talk = Conversation("tls", whole=True)
    size = cycle(cuts)
    for side, data in example.said:
        at = 0
        while at < len(data):
            step = next(size)
            talk.feed(side, data[at : at + step])
            at += step
    assert talk.judge().verdict == "tls"


class Example:
    """A conversation whose bytes are not shown for each example that hypothesis tries."""

    def __init__(self, said: Said) -> None:
        self.said = said


@pytest.fixture(scope="module")
def example(tls: Said) -> Example:
    return Example(tls)


def test_what_was_lost_in_the_capture_is_never_called_whole(tls: Said) -> None:
    talk = Conversation("tls", whole=True)
    for side, data in tls[:4]:
        talk.feed(side, data)
    talk.lose("server")
    assert talk.judge().verdict in ("unknown", "resumed")
    talk.feed("server", ANSWER)
    assert talk.judge().verdict == "plaintext"


def test_quic_is_told_from_any_other_datagram() -> None:
    initial = b"\xc3\x00\x00\x00\x01\x08" + bytes(1190)
    short = b"\x43" + bytes(40)
    flow = Datagrams()
    flow.feed("client", initial)
    flow.feed("server", initial)
    flow.feed("client", short)
    assert flow.judge().verdict == "tls"
    flow.feed("client", b"\x00\x01 a question to a name server")
    assert flow.judge().verdict == "plaintext"
    under_way = Datagrams()
    under_way.feed("client", short)
    assert under_way.judge().verdict == "unknown"
    other = Datagrams()
    other.feed("client", b"\xc3\x12\x34\x56\x78" + bytes(60))
    assert other.judge().verdict == "plaintext"
