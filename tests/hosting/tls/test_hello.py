"""What a server says to a hello is read as it was meant, and nonsense is not read at all."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.hosting.tls.hello import Offer, Refused, Unreadable, read_answer, write_hello
from troth.hosting.tls.suites import CLASSIC, GROUPS, MODERN, SSL_3, TLS_1_2, TLS_1_3, VERSIONS

RANDOM = bytes(range(64))


def offer(version: int) -> Offer:
    suites = tuple(MODERN if version == TLS_1_3 else CLASSIC)
    return Offer(version=version, suites=suites, groups=tuple(GROUPS), name="a.example")


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_a_hello_is_one_record_of_the_length_that_it_says(version: int) -> None:
    hello = write_hello(offer(version), RANDOM)
    assert hello[0] == 22
    assert int.from_bytes(hello[3:5], "big") == len(hello) - 5
    assert int.from_bytes(hello[6:9], "big") == len(hello) - 9
    assert (b"a.example" in hello) is (version > SSL_3)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_tls_library_takes_the_hello_and_its_answer_is_read(version: int) -> None:
    """Without a certificate OpenSSL has no suite to agree to, and says so to a hello that it understood."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(inbound, outbound, server_side=True)
    inbound.write(write_hello(offer(version), RANDOM))
    with pytest.raises(ssl.SSLError):
        server.do_handshake()
    assert isinstance(read_answer(outbound.read(), ended=False), Refused)


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_do_more_than_be_refused_or_unreadable(sent: bytes, ended: bool) -> None:
    try:
        answer = read_answer(sent, ended=ended)
    except Unreadable:
        return
    assert answer is None or isinstance(answer, Refused)


@given(st.binary(max_size=120))
def test_a_broken_server_hello_is_unreadable_or_incomplete(body: bytes) -> None:
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    record = b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
    try:
        read_answer(record, ended=False)
    except Unreadable as error:
        assert str(error)


def test_a_web_page_is_no_handshake() -> None:
    with pytest.raises(Unreadable):
        read_answer(b"HTTP/1.1 400 Bad Request\r\n" + bytes(30_000), ended=False)


def test_silence_is_a_refusal_only_when_it_ended() -> None:
    assert read_answer(b"", ended=False) is None
    assert read_answer(b"", ended=True) == Refused(None)
