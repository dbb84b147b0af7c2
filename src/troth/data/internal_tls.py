"""data.internal_tls: every private port refuses who has no certificate, and what passes on the wire is TLS.

The ports are tried as an intruder would. Where this process may capture (CAP_NET_RAW), it does so for a few
seconds while a visit is driven through every hop, so that TLS is seen, and not only that the rest is refused.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from troth.core.process import Endpoint
from troth.core.promise import Drill, Finding, Probe
from troth.data.capture import Captured
from troth.data.intrusion import Port, Stranger, intrude

DEFECT = "a port that answers in plain text stood among the private ones"
_GAP = 0.1


class Hops(msgspec.Struct, frozen=True):
    """What there is to look at: `ports` are the private ones, `captured` the traffic of a visit through
    all of them, None where this process may not capture."""

    ports: Callable[[], Awaitable[tuple[Port, ...]]]
    stranger: Stranger
    captured: Callable[[], Awaitable[Captured | None]]


class Intrusion(msgspec.Struct, frozen=True):
    """What trying the ports showed: their names, every way in, and those where nobody answered."""

    ports: tuple[str, ...]
    entered: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


async def probe_internal_tls(hops: Hops) -> Finding:
    """Look at the wire first: the intruder's own attempts in plain text are not the platform's traffic."""
    captured = await hops.captured()
    ports = await hops.ports()
    return judge_internal_tls(await _try_ports(ports, hops.stranger), captured)


async def _try_ports(ports: tuple[Port, ...], stranger: Stranger) -> Intrusion:
    entered: list[str] = []
    silent: list[str] = []
    for port in ports:
        try:
            ways = await intrude(port, stranger)
        except (ConnectionRefusedError, TimeoutError):
            silent.append(port.name)
            continue
        entered += [f"{port.name} let in {way}" for way in ways]
    return Intrusion(tuple(port.name for port in ports), tuple(entered), tuple(silent))


def judge_internal_tls(tried: Intrusion, captured: Captured | None) -> Finding:
    """The verdict. A port where nobody answers proves nothing, nor does a capture that missed a packet."""
    raw: dict[str, object] = {
        "ports": list(tried.ports),
        "entered": list(tried.entered),
        "silent": list(tried.silent),
        "captured": msgspec.to_builtins(captured),
    }
    readable = captured.where("plaintext") if captured else ()
    faults = (*tried.entered, *(f"{hop.name} carried what is not TLS: {hop.reasons[0]}" for hop in readable))
    if faults:
        return Finding("broken", "; ".join(faults) + ".", raw)
    if tried.silent or not tried.ports:
        return Finding("unknown", f"Nobody answers at {', '.join(tried.silent) or 'any private port'}.", raw)
    refused = (
        f"{len(tried.ports)} private ports refused plain text, TLS without a certificate and a stranger's "
        "certificate"
    )
    if captured is None:
        return Finding("proved", f"{refused}; the traffic itself was not captured.", raw)
    if not captured.is_whole:
        missed = captured.dropped + captured.unseen
        return Finding("unknown", f"{refused}; but the capture of the traffic missed {missed} packets.", raw)
    return Finding("proved", f"{refused}; {_told(captured)}", raw)


def _told(captured: Captured) -> str:
    """What the capture showed. A connection that rested says too little of itself to be counted."""
    hops = captured.where("tls", "resumed")
    count = captured.count("tls", "resumed")
    size = sum(hop.size for hop in hops)
    rested = captured.count("unknown")
    resting = f" ({rested} more that rested could not be judged)" if rested else ""
    return (
        f"of their captured traffic, {count} connections of {len(hops)} ports with {size / 1e6:.1f} MB were "
        f"TLS{resting} and none was not."
    )


def drill(hops: Hops) -> Drill:
    """A plain HTTP port of the platform's own, and somebody who uses it. The probe is told nothing of it."""
    return Drill("data.internal_tls", DEFECT, lambda: _broken(hops))


@asynccontextmanager
async def _broken(hops: Hops) -> AsyncGenerator[Probe]:
    async with planted_hop():
        yield Probe("data.internal_tls", lambda: probe_internal_tls(hops))


@asynccontextmanager
async def planted_hop() -> AsyncGenerator[Endpoint]:
    """A hop in plain text, there and in use for as long as the block lasts."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=4096)
    port = int(server.sockets[0].getsockname()[1])
    user = asyncio.create_task(_use(port), name="user of the planted hop")
    try:
        yield Endpoint("127.0.0.1", port)
    finally:
        user.cancel()
        await asyncio.gather(user, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with (
        contextlib.closing(writer),
        contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError),
    ):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1.0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nplain\n")
        await writer.drain()


async def _use(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(b"GET /planted HTTP/1.1\r\nHost: planted\r\n\r\n")
                await reader.read(1024)
        await asyncio.sleep(_GAP)
