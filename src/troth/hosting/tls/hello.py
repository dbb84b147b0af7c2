"""The first words of a TLS handshake, written and read by themselves.

They say what a server would agree to, which a TLS library of today could not even ask for (RFC 8446
sections 4.1 and 4.2, RFC 5246 section 7.4, RFC 6101 for SSL 3.0). Nothing is ever encrypted here: the server
has chosen before it comes to that.
"""

from collections.abc import Iterator

import msgspec

from troth.hosting.tls.suites import FALLBACK, TLS_1_0, TLS_1_2, TLS_1_3

HANDSHAKE, ALERT, _CHANGE = 22, 21, 20
_CLIENT_HELLO, _SERVER_HELLO, _KEY_EXCHANGE, _DONE = 1, 2, 12, 14
_SERVER_NAME, _GROUPS, _POINTS, _SIGNATURES, _HEARTBEAT = 0, 10, 11, 13, 15
_MASTER_SECRET, _VERSIONS, _MODES, _SHARE, _RENEGOTIATION = 23, 43, 45, 51, 0xFF01
_NAMED_CURVE = 3

_SCHEMES = (0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
"""Signatures: ECDSA, RSA-PSS, RSA with SHA-2, and both with SHA-1."""

MOST_BYTES = 65_536
"""Of an answer: a chain of certificates and a little more."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a client would take. `falls_back`: it claims to have been refused a newer version."""

    version: int
    suites: tuple[int, ...]
    groups: tuple[int, ...]
    name: str
    falls_back: bool = False


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """What the server chose. `group` is 0 where none was to be chosen; `dh_bits` where it named a prime."""

    version: int
    suite: int
    group: int = 0
    dh_bits: int = 0
    compresses: bool = False
    renegotiates_safely: bool = False
    beats: bool = False


class Refused(msgspec.Struct, frozen=True):
    """An alert (RFC 8446 section 6), or None for a connection that was closed without a word."""

    alert: int | None


class Unreadable(Exception):
    """Bytes that are no answer to a client's hello."""


def write_hello(offer: Offer, random: bytes) -> bytes:
    """A ClientHello in one record; `random` is 64 bytes, of which half become the session's id."""
    suites = (*offer.suites, FALLBACK) if offer.falls_back else offer.suites
    body = (
        _number(min(offer.version, TLS_1_2), 2)
        + random[:32]
        + _vector(random[32:64], 1)
        + _vector(b"".join(_number(suite, 2) for suite in suites), 2)
        # DEFLATE is offered too: a server that takes it tells what it compresses (CRIME).
        + _vector(b"\x00" if offer.version >= TLS_1_3 else b"\x01\x00", 1)
    )
    if offer.version >= TLS_1_0:
        body += _vector(b"".join(_extensions(offer)), 2)
    message = _number(_CLIENT_HELLO, 1) + _vector(body, 3)
    return _number(HANDSHAKE, 1) + _number(min(offer.version, TLS_1_0), 2) + _vector(message, 2)


def _extensions(offer: Offer) -> Iterator[bytes]:
    yield _extension(_SERVER_NAME, _vector(b"\x00" + _vector(offer.name.encode("ascii"), 2), 2))
    yield _extension(_GROUPS, _vector(b"".join(_number(group, 2) for group in offer.groups), 2))
    yield _extension(_POINTS, _vector(b"\x00", 1))
    yield _extension(_RENEGOTIATION, _vector(b"", 1))
    yield _extension(_MASTER_SECRET, b"")
    if offer.version >= TLS_1_2:
        yield _extension(_SIGNATURES, _vector(b"".join(_number(one, 2) for one in _SCHEMES), 2))
    if offer.version >= TLS_1_3:
        yield _extension(_VERSIONS, _vector(_number(TLS_1_3, 2), 1))
        yield _extension(_MODES, _vector(b"\x01", 1))
        # No share at all: the server has to name the group it wants (RFC 8446 section 4.2.8).
        yield _extension(_SHARE, _vector(b"", 2))
    else:
        yield _extension(_HEARTBEAT, b"\x01")


def read_answer(sent: bytes, *, ended: bool) -> Agreed | Refused | None:
    """What a server has said so far; None while more has to come. Raises Unreadable."""
    messages = b""
    for kind, content in _records(sent):
        if kind == ALERT:
            return Refused(content[1] if len(content) > 1 else None)
        if kind == _CHANGE:
            continue  # sent by TLS 1.3 for the sake of boxes in between (RFC 8446 appendix D.4)
        if kind != HANDSHAKE:
            raise Unreadable(f"a record of type {kind}")
        messages += content
    agreed = _read_messages(messages)
    if agreed is None and ended:
        return Refused(None)
    return agreed


def _read_messages(messages: bytes) -> Agreed | None:
    hello: Agreed | None = None
    for kind, body in _handshakes(messages):
        if kind == _SERVER_HELLO:
            hello = _read_hello(body)
            if hello.version >= TLS_1_3:
                return hello
        elif kind == _KEY_EXCHANGE and hello is not None:
            hello = _with_group(hello, body)
        elif kind == _DONE:
            return hello
    return None


def _read_hello(body: bytes) -> Agreed:
    reader = _Reader(body)
    version = reader.number(2)
    reader.take(32)
    reader.vector(1)
    suite = reader.number(2)
    compression = reader.number(1)
    extensions = dict(_extensions_of(reader.vector(2))) if reader.left else {}
    if _VERSIONS in extensions:
        version = int.from_bytes(extensions[_VERSIONS], "big")
    return Agreed(
        version=version,
        suite=suite,
        group=int.from_bytes(extensions.get(_SHARE, b"")[:2], "big"),
        compresses=compression != 0,
        renegotiates_safely=_RENEGOTIATION in extensions,
        beats=_HEARTBEAT in extensions,
    )


def _with_group(hello: Agreed, body: bytes) -> Agreed:
    """A named curve, or a prime whose length counts (RFC 8422 section 5.4, RFC 5246 section 7.4.3)."""
    reader = _Reader(body)
    if body[0] == _NAMED_CURVE:
        reader.take(1)
        return msgspec.structs.replace(hello, group=reader.number(2))
    return msgspec.structs.replace(hello, dh_bits=len(reader.vector(2).lstrip(b"\x00")) * 8)


def _extensions_of(block: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Reader(block)
    while reader.left:
        yield reader.number(2), reader.vector(2)


def _records(sent: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that have come whole."""
    at = 0
    while len(sent) - at >= 5:
        length = int.from_bytes(sent[at + 3 : at + 5], "big")
        if len(sent) - at - 5 < length:
            return
        yield sent[at], sent[at + 5 : at + 5 + length]
        at += 5 + length


def _handshakes(messages: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while len(messages) - at >= 4:
        length = int.from_bytes(messages[at + 1 : at + 4], "big")
        if len(messages) - at - 4 < length:
            return
        yield messages[at], messages[at + 4 : at + 4 + length]
        at += 4 + length


class _Reader:
    """Takes numbers and vectors off the front. Raises Unreadable where there is too little."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._content) - self._at

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise Unreadable("it ends too soon")
        self._at += count
        return self._content[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def _vector(content: bytes, size: int) -> bytes:
    return _number(len(content), size) + content


def _extension(kind: int, content: bytes) -> bytes:
    return _number(kind, 2) + _vector(content, 2)
