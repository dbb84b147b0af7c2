"""What a name server said (RFC 1035 section 4): which name was asked for, and where it leads. Pure.

Standard library only: the relay reads every answer that passes it.
"""

import ipaddress
import struct

_RESPONSE, _CODE = 0x8000, 0x000F
_TYPES = {1: 4, 28: 16}
"""A and AAAA (RFC 3596), and the size of each."""

_INTERNET = 1
_POINTER = 0xC0
_MOST_JUMPS = 32
_MOST_RECORDS = 200


def read_answer(message: bytes) -> tuple[str, tuple[str, ...]]:
    """The name in small letters without its last dot, and every address of the answer, whatever alias it
    stands under. No addresses for a message that answers nothing. Raises ValueError for one that is none."""
    try:
        return _read(message)
    except (struct.error, IndexError) as error:
        raise ValueError("this is no message of the name system") from error


def may_be_opened(address: str) -> bool:
    """Whether an address that a name server told may be reached for that: never this machine itself, whose
    services on loopback trust whoever comes, nor what is no single machine elsewhere."""
    one = ipaddress.ip_address(address)
    if isinstance(one, ipaddress.IPv6Address) and one.ipv4_mapped:
        one = one.ipv4_mapped
    return not (one.is_loopback or one.is_unspecified or one.is_multicast or one.is_link_local)


def _read(message: bytes) -> tuple[str, tuple[str, ...]]:
    _, flags, questions, answers = struct.unpack("!HHHH", message[:8])
    if not flags & _RESPONSE or questions != 1:
        raise ValueError("this is no answer to one question")
    name, offset = _name(message, 12)
    offset += 4
    found: list[str] = []
    if flags & _CODE:
        return name, ()
    for _ in range(min(answers, _MOST_RECORDS)):
        _, offset = _name(message, offset)
        kind, family, _, size = struct.unpack("!HHIH", message[offset : offset + 10])
        data = message[offset + 10 : offset + 10 + size]
        offset += 10 + size
        if family == _INTERNET and _TYPES.get(kind) == size == len(data):
            found.append(str(ipaddress.ip_address(data)))
    return name, tuple(found)


def _name(message: bytes, offset: int) -> tuple[str, int]:
    """The name that stands there, and where what follows it begins."""
    labels: list[str] = []
    end, jumps = 0, 0
    while size := message[offset]:
        if size & _POINTER == _POINTER:
            end = end or offset + 2
            offset = struct.unpack("!H", message[offset : offset + 2])[0] & 0x3FFF
            jumps += 1
            if jumps > _MOST_JUMPS:
                raise ValueError("its names lead in a circle")
            continue
        labels.append(message[offset + 1 : offset + 1 + size].decode("ascii", "replace").lower())
        offset += 1 + size
    return ".".join(labels), end or offset + 1
