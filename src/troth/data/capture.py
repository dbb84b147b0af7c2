"""Everything that a capture saw on the platform's ports, by hop: which connections were TLS, and which not.

Pure: `Traffic` is fed with packets; `data.sniffing` takes them from the wire. Memory is bounded: a
conversation is a few hundred bytes of state, and of more than `MOST` at once the rest is counted as unseen.
"""

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from troth.data.conversations import Conversation, Datagrams, Judged, Speech, Verdict
from troth.data.packets import Address, Assembly, Packet
from troth.data.tls_records import Side

MOST = 16_384
"""Connections followed at once."""

_REASONS = 8
_BOTH: tuple[Side, Side] = ("client", "server")


class Hop(msgspec.Struct, frozen=True):
    """A port that the platform listens on: what it is called, and what it has to speak."""

    name: str
    port: int
    speech: Speech = "tls"


class HopSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one hop: connections by verdict, payload bytes, and why some were not TLS."""

    name: str
    verdicts: dict[Verdict, int]
    size: int
    reasons: tuple[str, ...] = ()

    def count(self, *verdicts: Verdict) -> int:
        """How many connections have one of these verdicts."""
        return sum(self.verdicts.get(one, 0) for one in verdicts)


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """The whole capture. `dropped` packets were lost by it, `unseen` connections were too many to follow:
    with either nothing is proved by it."""

    hops: tuple[HopSeen, ...]
    packets: int
    dropped: int = 0
    unseen: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether no packet and no connection was missed."""
        return not (self.dropped or self.unseen)

    def count(self, *verdicts: Verdict) -> int:
        """How many connections on all hops have one of these verdicts."""
        return sum(hop.count(*verdicts) for hop in self.hops)

    def where(self, *verdicts: Verdict) -> tuple[HopSeen, ...]:
        """The hops that have a connection with one of these verdicts."""
        return tuple(hop for hop in self.hops if hop.count(*verdicts))


class _Flow:
    """One TCP connection or UDP flow."""

    def __init__(self, hop: Hop, talk: Conversation | Datagrams) -> None:
        self.hop, self.talk = hop, talk
        self.ended: set[Side] = set()
        self.assemblies: dict[Side, Assembly] = {}

    def judge(self) -> Judged:
        if isinstance(self.talk, Conversation):
            for side, assembly in self.assemblies.items():
                if assembly.waits:
                    self.talk.lose(side)
        return self.talk.judge()


class _Tally:
    """What was seen of each hop so far."""

    def __init__(self) -> None:
        self._hops: dict[str, HopSeen] = {}

    def copy(self) -> "_Tally":
        other = _Tally()
        other._hops = dict(self._hops)
        return other

    def add(self, name: str, judged: Judged) -> None:
        seen = self._hops.get(name) or HopSeen(name=name, verdicts={}, size=0)
        reasons = seen.reasons
        if judged.why and judged.why not in reasons and len(reasons) < _REASONS:
            reasons = (*reasons, judged.why)
        self._hops[name] = HopSeen(
            name=name,
            verdicts={**seen.verdicts, judged.verdict: seen.count(judged.verdict) + 1},
            size=seen.size + judged.size,
            reasons=reasons,
        )

    def hops(self) -> tuple[HopSeen, ...]:
        return tuple(self._hops[name] for name in sorted(self._hops))


class Traffic:
    """Follows connections of `hops`; with `strays` also those of every other port, whose hop is `port N` and
    has to speak TLS in `any` way."""

    def __init__(self, hops: Iterable[Hop], *, strays: bool = False) -> None:
        self._hops = {hop.port: hop for hop in hops}
        self._strays = strays
        self._flows: OrderedDict[tuple[str, Address, Address], _Flow] = OrderedDict()
        self._tally = _Tally()
        self._unseen = 0
        self._packets = 0

    def take(self, packet: Packet) -> None:
        """The next packet on the wire."""
        self._packets += 1
        if packet.protocol == "udp":
            self._take_datagram(packet)
        else:
            self._take_segment(packet)

    def of_client(self, port: int) -> tuple[str, Judged] | None:
        """The hop of the connection that a client has from this port, and the verdict on it so far."""
        for (_, client, _), flow in self._flows.items():
            if client[1] == port:
                return flow.hop.name, flow.judge()
        return None

    def see(self, *, dropped: int = 0) -> Captured:
        """The verdict on all of it; connections that still live are judged as they stand."""
        tally = self._tally.copy()
        for flow in self._flows.values():
            tally.add(flow.hop.name, flow.judge())
        return Captured(hops=tally.hops(), packets=self._packets, dropped=dropped, unseen=self._unseen)

    def _take_segment(self, packet: Packet) -> None:
        opens = packet.syn and not packet.acknowledges
        found = self._find(packet, opens=opens)
        if found is None:
            return
        flow, side = found
        if not isinstance(flow.talk, Conversation):
            return
        if packet.syn:
            flow.assemblies[side] = Assembly((packet.sequence + 1) % (1 << 32))
        elif packet.payload:
            assembly = flow.assemblies.setdefault(side, Assembly(None))
            data, lost = assembly.take(packet.sequence, packet.payload)
            if lost:
                flow.talk.lose(side)
            if data:
                flow.talk.feed(side, data)
        if packet.ends or packet.resets:
            flow.ended |= set(_BOTH) if packet.resets else {side}

    def _take_datagram(self, packet: Packet) -> None:
        found = self._find(packet, opens=False)
        if found is not None and isinstance(found[0].talk, Datagrams):
            found[0].talk.feed(found[1], packet.payload)

    def _find(self, packet: Packet, *, opens: bool) -> tuple[_Flow, Side] | None:
        """The flow of a packet and who sent it; None for ports that are not ours and for the last words of
        a connection that was never seen."""
        ways: tuple[tuple[Address, Address, Side], ...] = (
            (packet.source, packet.target, "client"),
            (packet.target, packet.source, "server"),
        )
        for client, server, side in ways:
            key = (packet.protocol, client, server)
            flow = self._flows.get(key)
            if flow is not None and not (opens and side == "client"):
                return flow, side
            if flow is not None:  # the client's port is used again
                self._close(self._flows.pop(key))
        return self._begin(packet, opens=opens)

    def _begin(self, packet: Packet, *, opens: bool) -> tuple[_Flow, Side] | None:
        ends = self._ends(packet, opens=opens)
        if ends is None or not (opens or packet.payload):
            return None
        client, server, side = ends
        if not self._make_room():
            self._unseen += 1
            return None
        hop = self._hops.get(server[1]) or Hop(f"port {server[1]}", server[1], "any")
        talk = Datagrams() if packet.protocol == "udp" else Conversation(hop.speech, whole=opens)
        flow = self._flows[packet.protocol, client, server] = _Flow(hop, talk)
        return flow, side

    def _ends(self, packet: Packet, *, opens: bool) -> tuple[Address, Address, Side] | None:
        """Client, server, and who of them speaks. Of a stray under way the lower port is the server's."""
        source, target = packet.source, packet.target
        if target[1] in self._hops:
            return source, target, "client"
        if source[1] in self._hops and not opens:
            return target, source, "server"
        if not self._strays:
            return None
        if opens or target[1] <= source[1]:
            return source, target, "client"
        return target, source, "server"

    def _make_room(self) -> bool:
        if len(self._flows) < MOST:
            return True
        for key, flow in self._flows.items():
            if len(flow.ended) == 2:
                self._close(self._flows.pop(key))
                return True
        return False

    def _close(self, flow: _Flow) -> None:
        self._tally.add(flow.hop.name, flow.judge())
