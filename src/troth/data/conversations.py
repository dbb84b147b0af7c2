"""What two ends say to each other, judged from its bytes: TLS, QUIC, or something that anybody could read.

Pure: fed with the payload of each direction in order. Two protocols begin in the clear and have to ask for
TLS before they say anything: PostgreSQL (SSLRequest, answered `S`) and SMTP (STARTTLS, RFC 3207).
"""

import re
from typing import Literal

import msgspec

from troth.data.tls_records import Reader, Side

Speech = Literal["tls", "postgres", "smtp", "redirect", "any"]
"""What a port is expected to speak. `redirect` is plain HTTP that sends everybody to HTTPS; `any` is TLS or
PostgreSQL's way into it."""

Verdict = Literal["tls", "resumed", "plaintext", "refused", "redirected", "empty", "unknown"]
"""`tls` was seen from its first byte. `resumed` was under way when the capture began, and its records were
found. `refused` is a client that spoke in the clear and was told nothing. `redirected` is plain HTTP answered
by nothing but redirects. `empty` carried nothing. `unknown` showed too little, and never counts as TLS."""

_SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
_PROLOGUE = 4096
"""SMTP must come to its STARTTLS within so many bytes."""
_KEPT = 256
_REDIRECTS = re.compile(rb"HTTP/1\.[01] (?:308|400|421) ")
_SMTP_ANSWER = re.compile(rb"[0-9]{3}[ -][^\r\n]*\r\n")
_SMTP_GREETING = re.compile(rb"(?:EHLO|HELO) [^\r\n]*\r\n|NOOP\r\n", re.IGNORECASE)
_NOT_ADMITTED = re.compile(rb"E....SFATAL\0VFATAL\0C28000\0", re.DOTALL)
"""PostgreSQL: invalid authorization specification, which is what a connection without TLS is told."""


class Judged(msgspec.Struct, frozen=True):
    """The verdict on a conversation, why when it is not TLS, and how many payload bytes it had."""

    verdict: Verdict
    why: str
    size: int


class Conversation:
    """One TCP connection. `whole` says whether its beginning was seen."""

    def __init__(self, speech: Speech, *, whole: bool) -> None:
        self._speech: Speech = speech
        self._whole = whole
        self._readers = {side: Reader(side, whole=whole) for side in _SIDES}
        self._raw = {side: bytearray() for side in _SIDES}
        self._size = 0
        self._opening: _Opening | None = _OPENINGS[speech]() if whole and speech in _OPENINGS else None

    def feed(self, side: Side, data: bytes) -> None:
        """The next bytes of one direction."""
        self._size += len(data)
        raw = self._raw[side]
        raw += data[: max(0, _KEPT - len(raw))]
        if self._speech == "redirect":
            return
        if self._opening is not None:
            data = self._opening.take(side, data)
        if data:
            self._readers[side].feed(data)

    def lose(self, side: Side) -> None:
        """Some bytes of one direction were not captured."""
        self._whole, self._opening = False, None
        self._readers[side].lose()

    def judge(self) -> Judged:
        """The verdict on what was seen so far."""
        verdict, why = self._verdict()
        return Judged(verdict, why, self._size)

    def _verdict(self) -> tuple[Verdict, str]:
        if not self._size:
            return "empty", ""
        if self._speech == "redirect":
            return self._redirected()
        if self._opening is not None and self._opening.fault:
            return self._plain(self._opening.fault)
        client, server = self._readers["client"], self._readers["server"]
        for reader in (client, server):
            if reader.state == "plain":
                return self._plain(reader.why)
        if not self._whole:
            known = any(one.state == "records" for one in (client, server))
            return ("resumed", "") if known else ("unknown", "too little was seen of a stream under way")
        if server.records > 1 and server.suite is None and not server.alert_only:
            return "unknown", "its cipher suite was not seen"
        if client.state == "records" and (server.state == "records" or server.alert_only or not server.size):
            return "tls", ""
        return "unknown", "its handshake was not seen to its end"

    def _plain(self, why: str) -> tuple[Verdict, str]:
        return ("refused", why) if self._was_refused() else ("plaintext", why)

    def _was_refused(self) -> bool:
        """Whether the client alone spoke in the clear, and the server told it that it must not."""
        said = bytes(self._raw["server"])
        if not self._whole or self._size > _PROLOGUE or self._readers["server"].suite is not None:
            return False
        if self._speech in ("postgres", "any") and _NOT_ADMITTED.match(said):
            return True
        if self._speech == "postgres":
            return False
        return not said or _is_alert(said) or bool(_HTTP_400.match(said))

    def _redirected(self) -> tuple[Verdict, str]:
        said = bytes(self._raw["server"])
        if not said:
            return "unknown", "no answer was seen"
        if _REDIRECTS.match(said):
            return "redirected", ""
        return "plaintext", "plain HTTP that is answered by something else than a redirect"


_SIDES: tuple[Side, Side] = ("client", "server")
_HTTP_400 = re.compile(rb"HTTP/1\.[01] 400 ")


def _is_alert(said: bytes) -> bool:
    return len(said) == 7 and said.startswith((b"\x15\x03\x01\x00\x02", b"\x15\x03\x03\x00\x02"))


class _Opening:
    """What comes before TLS. `take` returns the bytes that belong to TLS already."""

    fault = ""

    def take(self, side: Side, data: bytes) -> bytes:
        raise NotImplementedError


class _Postgres(_Opening):
    """SSLRequest and one byte. A client may also begin with TLS itself (PostgreSQL 17)."""

    def __init__(self) -> None:
        self._asked = bytearray()
        self._answered = False
        self._direct = False

    def take(self, side: Side, data: bytes) -> bytes:
        if self._direct:
            return data
        return self._take_question(data) if side == "client" else self._take_answer(data)

    def _take_question(self, data: bytes) -> bytes:
        if not self._asked and data[:1] == b"\x16":
            self._direct = True
            return data
        rest = len(_SSL_REQUEST) - len(self._asked)
        self._asked += data[:rest]
        if not _SSL_REQUEST.startswith(bytes(self._asked)):
            self.fault = "it does not begin as TLS, nor asks for it"
            return b""
        return data[rest:] if rest < len(data) else b""

    def _take_answer(self, data: bytes) -> bytes:
        if self._answered:
            return data
        self._answered = True
        if data[:1] != b"S" and not self.fault:
            self.fault = "PostgreSQL does not agree to TLS"
        return data[1:]


class _Smtp(_Opening):
    """Greetings, EHLO and STARTTLS, and not a word more before TLS."""

    def __init__(self) -> None:
        self._lines = {side: bytearray() for side in _SIDES}
        self._asked = self._agreed = False
        self._seen = 0

    def take(self, side: Side, data: bytes) -> bytes:
        if self._agreed or self.fault:
            return data if self._agreed else b""
        self._seen += len(data)
        lines = self._lines[side]
        lines += data
        while not (self._agreed or self.fault) and (end := lines.find(b"\n") + 1):
            line = bytes(lines[:end])
            del lines[:end]
            self._hear(side, line)
        if self._seen > _PROLOGUE and not self._agreed:
            self.fault = "SMTP that does not come to TLS"
        rest = bytes(lines) if self._agreed else b""
        if self._agreed:
            lines.clear()
        return rest

    def _hear(self, side: Side, line: bytes) -> None:
        if side == "server":
            self._agreed = self._asked and line.startswith(b"220")
            if not _SMTP_ANSWER.fullmatch(line):
                self.fault = "an answer that is not SMTP's"
        elif line.upper() == b"STARTTLS\r\n":
            self._asked = True
        elif self._asked or not _SMTP_GREETING.fullmatch(line):
            self.fault = "SMTP that says more than a greeting in the clear"


_OPENINGS: dict[Speech, type[_Postgres] | type[_Smtp]] = {
    "postgres": _Postgres,
    "any": _Postgres,
    "smtp": _Smtp,
}


class Datagrams:
    """One UDP flow, which has to be QUIC (RFC 9000, section 17): HTTP/3 has no form in the clear."""

    def __init__(self) -> None:
        self._began = dict.fromkeys(_SIDES, False)
        self._why = ""
        self._strange = False
        self._size = 0

    def feed(self, side: Side, data: bytes) -> None:
        """The next datagram of one direction."""
        self._size += len(data)
        if not data:
            return
        if data[0] & 0x80:
            version = int.from_bytes(data[1:5])
            if len(data) >= 7 and _is_quic(version, data[0]):
                self._began[side] = True
            else:
                self._why = "a datagram with a long header of no known version"
        elif not data[0] & 0x40:
            self._why = "a datagram that is not QUIC"
        elif not any(self._began.values()):
            self._strange = True

    def judge(self) -> Judged:
        """The verdict on what was seen so far."""
        if self._why:
            return Judged("plaintext", self._why, self._size)
        if not self._size:
            return Judged("empty", "", 0)
        if self._strange or not self._began["client"]:
            return Judged("unknown", "a QUIC connection under way, whose beginning was not seen", self._size)
        return Judged("tls", "", self._size)


def _is_quic(version: int, first: int) -> bool:
    """Version 1 (RFC 9000), 2 (RFC 9369), one that is made up to be negotiated (section 15), or the answer
    that negotiates, whose other bits are random (section 17.2.1)."""
    if version == 0:
        return True
    return bool(first & 0x40) and (version in (1, 0x6B3343CF) or version & 0x0F0F0F0F == 0x0A0A0A0A)
