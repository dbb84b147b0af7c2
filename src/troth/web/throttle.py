"""How often one client, and one network, may ask; whoever asks more is told when to come again (429).

Every request passes here, those to applications too: the edge asks the web service whose session each of them
is. Caddy's build has no such limit of its own, and its state would be lost with each reload. The tables are
bounded: who has asked least recently is forgotten first, and is then as if new.
"""

import functools
import ipaddress
import math
from collections import OrderedDict
from collections.abc import Iterable

from troth.core.errors import TooMany

REMEMBERED = 8192
"""Clients, and as many networks, that one instance remembers: about a megabyte each."""

BURST_SECONDS = 10
"""So many seconds' worth may come at once: a page with its pictures, an import."""

_FORWARDED = b"x-forwarded-for"
_CLIENT_BITS = {4: 32, 6: 64}
_NETWORK_BITS = {4: 24, 6: 48}


class Rate:
    """So many a second for each key, and a burst (generic cell rate algorithm: one instant for each key).

    What is stored is when the key's past requests will be paid for at the even rate.
    """

    def __init__(self, per_second: float, *, burst_seconds: float, remembered: int = REMEMBERED) -> None:
        self._gap, self._burst, self._remembered = 1 / per_second, burst_seconds, remembered
        self._paid: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid)

    def wait(self, key: bytes, now: float) -> float:
        """0 when this request may pass, which counts it; else the seconds after which one may."""
        paid = max(self._paid.get(key, now), now)
        late = paid + self._gap - now - self._burst
        self._paid[key] = paid if late > 0 else paid + self._gap
        self._paid.move_to_end(key)
        if len(self._paid) > self._remembered:
            self._paid.popitem(last=False)
        return max(late, 0.0)


class Throttle:
    """The limits of one instance; 0 a second is no limit."""

    def __init__(self, client_per_second: int, network_per_second: int) -> None:
        self._clients = _rate(client_per_second)
        self._networks = _rate(network_per_second)

    def check(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        """Raises TooMany. `now` is of a clock that only goes forward."""
        sent = next((value for name, value in headers if name == _FORWARDED), None)
        keys = _keys(sent) if sent else None
        if keys is None:
            return
        client, network = keys
        for rate, key, whose in (
            (self._clients, client, "your address"),
            (self._networks, network, "your network"),
        ):
            seconds = rate.wait(key, now) if rate is not None else 0.0
            if seconds > 0:
                raise TooMany(f"Too many requests came from {whose}.", retry_after=math.ceil(seconds))


def _rate(per_second: int) -> Rate | None:
    return Rate(per_second, burst_seconds=BURST_SECONDS) if per_second else None


@functools.lru_cache(maxsize=4096)
def _keys(sent: bytes) -> tuple[bytes, bytes] | None:
    """The client and its network, by the edge's word; None for this machine itself, whose own programs (and a
    proxy of the operator's before the edge) are many people in one.

    An IPv6 client owns at least 64 bits of addresses, and a site usually 48: one address is no client there.
    """
    try:
        address = ipaddress.ip_address(sent.decode("ascii"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    address = mapped or address
    if address.is_loopback:
        return None
    packed, version = address.packed, address.version
    return packed[: _CLIENT_BITS[version] // 8], packed[: _NETWORK_BITS[version] // 8]
