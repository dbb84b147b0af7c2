"""Whether one direction of a stream is TLS: the record framing of RFC 8446, section 5, and nothing else.

A direction seen from its first byte has to begin as a TLS handshake does. One that was under way already is
read once enough record headers in a row are found, see `SURE`. What is inside the records is not looked at,
save the first: a ServerHello tells in the clear whether what follows is encrypted at all.
"""

from typing import Literal

Side = Literal["client", "server"]

LONGEST = 2**14 + 2048
"""Bytes of a record's body at most (RFC 5246, section 6.2.3; TLS 1.3 allows 256 beyond 2^14)."""

SURE = 2
"""Record headers in a row, from the first byte that was seen, that make a stream under way TLS. Other bytes
pass for one header with a probability of 4/256 (type) times 1/65536 (version): for two 2^-44."""

SURER = 3
"""The same where the headers begin somewhere inside: every byte is a place to begin at (2^-66 each)."""

ENCRYPTING = frozenset(
    (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xCCA9, 0xC02F, 0xC030, 0xCCA8)
)  # fmt: skip
"""AES-GCM and ChaCha20-Poly1305 with forward secrecy. TLS has suites that encrypt nothing (RFC 9150)."""

_HEAD = 5
_TYPES = frozenset((20, 21, 22, 23))
_ALERT, _HANDSHAKE = 21, 22
_HELLO = {"client": 1, "server": 2}
_ENOUGH = 3 * (LONGEST + _HEAD)
"""Bytes in which headers must be found if there are any: two whole records, wherever they begin."""
_OPENING = 80
"""A ServerHello names its cipher suite within so many bytes."""


class Reader:
    """One direction. `feed` it in order; `state` is `plain` as soon as one byte cannot be TLS.

    `opening`: nothing or too little was seen yet. `records`: TLS. `seeking`: under way when the capture
    began, and not enough was seen yet to be sure.
    """

    def __init__(self, side: Side, *, whole: bool) -> None:
        self.state: Literal["opening", "records", "seeking", "plain"] = "opening" if whole else "seeking"
        self.whole = whole
        self.why = ""
        self.size = 0
        self.records = 0
        self.suite: int | None = None
        self.alert_only = False
        """Nothing but one alert has come: the peer was refused before any handshake."""
        self._side: Side = side
        self._head = bytearray()
        self._left = 0
        self._first = bytearray()
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        """The next bytes of this direction."""
        self.size += len(data)
        if self.state == "seeking":
            self._pending += data
            self._seek()
        elif self.state != "plain":
            self._walk(data)

    def lose(self) -> None:
        """Some bytes were not captured; from here on the headers have to be found again."""
        if self.state != "plain":
            self.state, self.whole = "seeking", False
            self._pending.clear()
            self._head.clear()
            self._left = 0

    def _walk(self, data: bytes) -> None:
        place = 0
        while place < len(data) and self.state != "plain":
            if self._left:
                step = min(self._left, len(data) - place)
                if self.whole and self.records == 1 and len(self._first) < _OPENING:
                    self._first += data[place : place + min(step, _OPENING)]
                    self._look_at_first()
                self._left -= step
                place += step
                continue
            step = min(_HEAD - len(self._head), len(data) - place)
            self._head += data[place : place + step]
            place += step
            self._read_head()

    def _read_head(self) -> None:
        trouble = _fault(self._head, first=self.whole and not self.records, side=self._side)
        if trouble:
            self._be_plain(trouble)
        elif len(self._head) == _HEAD:
            self.records += 1
            self._left = int.from_bytes(self._head[3:5])
            if self.records == 1:
                self.alert_only = self.whole and self._head[0] == _ALERT
            else:
                self._follow(self._head[0])
            self._head.clear()

    def _follow(self, kind: int) -> None:
        """A record after the first. Nothing but another alert may follow one that came before any Hello."""
        if self.whole and self.alert_only and kind != _ALERT:
            self._be_plain("records without a handshake")
        elif not self.alert_only:
            self.state = "records"

    def _look_at_first(self) -> None:
        """The first message has to be a Hello, or an alert of a server that refuses."""
        if self.alert_only:
            return
        if self._first[0] != _HELLO[self._side]:
            self._be_plain("its first record is no Hello")
            return
        self.state = "records"
        if self._side == "server":
            self._read_suite()

    def _read_suite(self) -> None:
        """RFC 8446, section 4.1.3: type 1, length 3, version 2, random 32, session id 1 + n, suite 2."""
        if len(self._first) < 39:
            return
        place = 39 + self._first[38]
        if len(self._first) < place + 2 or self.suite is not None:
            return
        self.suite = int.from_bytes(self._first[place : place + 2])
        if self.suite not in ENCRYPTING:
            self._be_plain(f"its cipher suite {self.suite:#06x} is none that we know to encrypt")

    def _seek(self) -> None:
        """Find headers in a row: at the first byte, or further on where it was cut inside a record."""
        start = _find_chain(self._pending)
        if start is not None:
            found = bytes(self._pending[start:])
            self._pending.clear()
            self.state = "records"
            self._walk(found)
        elif len(self._pending) >= _ENOUGH or _reads_as_text(self._pending):
            self._pending.clear()
            self._be_plain("it has no record headers")

    def _be_plain(self, why: str) -> None:
        self.state, self.why = "plain", why


def _fault(head: bytearray, *, first: bool, side: Side) -> str:
    """Why these first bytes of a record's header are none; empty while they may become one."""
    allowed = ((_HANDSHAKE, _ALERT) if side == "server" else (_HANDSHAKE,)) if first else _TYPES
    if head and head[0] not in allowed:
        return "it does not begin as TLS" if first else "a record of no known type"
    if len(head) > 1 and head[1] != 3:
        return "a record of no known version"
    # RFC 8446, section 5.1: a first ClientHello alone may say 1.0 there, for the sake of old servers.
    if len(head) > 2 and head[2] != 3 and not (first and side == "client" and head[2] == 1):
        return "a record of no version that is allowed"
    if len(head) == _HEAD and not 0 < int.from_bytes(head[3:5]) <= LONGEST:
        return "a record of impossible length"
    return ""


def _find_chain(data: bytearray) -> int | None:
    if _chain(data, 0) >= SURE:
        return 0
    place = data.find(b"\x03\x03", 2)
    while place != -1:
        if _chain(data, place - 1) >= SURER:
            return place - 1
        place = data.find(b"\x03\x03", place + 1)
    return None


def _chain(data: bytearray, place: int) -> int:
    """How many whole headers follow one another from here on; 0 when one of them is none."""
    count = 0
    while place < len(data):
        head = data[place : place + _HEAD]
        if _fault(head, first=False, side="client"):
            return 0
        if len(head) < _HEAD:
            break
        count += 1
        place += _HEAD + int.from_bytes(head[3:5])
    return count


def _reads_as_text(data: bytearray) -> bool:
    """Among so many encrypted bytes, no more than four in ten would be printable."""
    sample = data[:512]
    printable = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in sample)
    return len(sample) >= 32 and printable > 0.95 * len(sample)
