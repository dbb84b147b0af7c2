"""A question that every QUIC server answers before any key is agreed on: which versions it speaks."""

import os
import socket

VERSION_1 = 1

_UNKNOWN = 0x1A2A3A4A
"""Of the pattern that is kept free for asking so (RFC 9000, section 15)."""

_LEAST = 1200
"""A server answers no smaller first packet (section 14.1)."""


def versions(host: str, port: int, seconds: float = 30.0) -> tuple[int, ...]:
    """What the server at this UDP port says that it speaks (section 17.2.1). Raises OSError when nobody
    answers; asked again each second, for a datagram may be lost."""
    asking_as, asked = os.urandom(8), os.urandom(8)
    packet = b"\xc0" + _UNKNOWN.to_bytes(4, "big") + b"\x08" + asked + b"\x08" + asking_as
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((host, port))
        asking.settimeout(1.0)
        for _ in range(round(seconds)):
            asking.send(packet.ljust(_LEAST, b"\x00"))
            try:
                answer = asking.recv(2048)
            except TimeoutError:
                continue
            return _read(answer, asking_as, asked)
    raise TimeoutError(f"nobody speaks QUIC at {host}:{port}")


def _read(answer: bytes, asking: bytes, asked: bytes) -> tuple[int, ...]:
    assert answer[0] & 0x80 and answer[1:5] == bytes(4), "no Version Negotiation packet"
    assert answer[5:23] == b"\x08" + asking + b"\x08" + asked, "an answer to somebody else"
    return tuple(int.from_bytes(answer[place : place + 4], "big") for place in range(23, len(answer), 4))
