"""A real name server on loopback, whose zone a test writes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """Every name has the address 127.0.0.1, and the TXT records that were published for it; `failing` names
    get SERVFAIL. `asked` holds the name of each question."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.asked: list[str] = []
        self.port = 0
        self._texts: dict[str, list[str]] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def publish(self, name: str, *strings: str) -> None:
        """One TXT record made of these strings; repeated calls add records."""
        quoted = " ".join(f'"{string}"' for string in strings)
        self._texts.setdefault(name, []).append(quoted)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport
        self.port = int(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._answer(data), addr)

    def _answer(self, wire: bytes) -> bytes:
        question = dns.message.from_wire(wire)
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if name in self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif asked.rdtype == dns.rdatatype.TXT and name not in self._texts:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif asked.rdtype == dns.rdatatype.TXT:
            answer.answer.append(dns.rrset.from_text_list(asked.name, 300, "IN", "TXT", self._texts[name]))
        elif asked.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(asked.name, 300, "IN", "A", "127.0.0.1"))
        return answer.to_wire(max_size=65_000)


@asynccontextmanager
async def name_server() -> AsyncGenerator[NameServer]:
    """Answers on 127.0.0.1 (UDP) while the block runs."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
