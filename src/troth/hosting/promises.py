"""The hosting promises, and the three promises of the data room that the edge keeps: https, ciphers, hsts.

hosting.network     the edge's public ports alone stand in this machine's network
hosting.balancing   see hosting/balancing
data.https          a plain request is redirected and gets nothing more
data.ciphers        see hosting/tls
data.hsts           the published rules of the browsers' preload list
"""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from troth.core.process import Endpoint
from troth.core.promise import Drill, Finding, Probe
from troth.core.reach import PublicFace, Visitor
from troth.hosting.balancing import Acting, Seen, judge_balancing
from troth.hosting.tls import promise as ciphers
from troth.hosting.tls.hsts import judge_hsts


class Listener(msgspec.Struct, frozen=True):
    """A listening socket of the platform: `process` is its program, `protocol` tcp or udp. `side` is the
    network that it stands in where the platform has one of its own: `private`, `edge` or `public`."""

    process: str
    protocol: str
    endpoint: Endpoint
    side: str = ""


class ServiceInstance(msgspec.Struct, frozen=True):
    """An instance as the edge balances over it; `ready` asks the instance itself, over mutual TLS."""

    service: str
    name: str
    ready: Callable[[], Awaitable[bool]]


class Answering(msgspec.Struct, frozen=True):
    """Private ports tried at the public addresses of this machine: where, and what answered there. With a
    private network they are tried at its loopback too, and from a network that stands for the public one."""

    addresses: tuple[str, ...]
    answered: tuple[Endpoint, ...]


_NOT_TRIED = Answering((), ())
_TOLD = 12


class HostingView(msgspec.Struct, frozen=True):
    """What the probes need to see of a running platform. `answering` tries ports of public addresses.

    `apart` says whether the platform stands in a network of its own, `not_apart` why it does not.
    """

    face: PublicFace
    listeners: Callable[[], Awaitable[tuple[Listener, ...]]]
    answering: Callable[[tuple[int, ...]], Awaitable[Answering]]
    instances: Callable[[], Awaitable[tuple[ServiceInstance, ...]]]
    acting: Callable[[], Awaitable[Acting]]
    now: Callable[[], datetime]
    apart: bool = False
    not_apart: str = ""


def probes(view: HostingView) -> tuple[Probe, ...]:
    """The probes of this room."""
    return (
        Probe("hosting.network", lambda: probe_network(view)),
        Probe("hosting.balancing", lambda: probe_balancing(view)),
        Probe("data.https", lambda: probe_https(view.face)),
        ciphers.probe(view.face),
        Probe("data.hsts", lambda: probe_hsts(view.face)),
    )


async def probe_network(view: HostingView) -> Finding:
    """List every listening socket, and try each private TCP port at the public addresses; broken when
    anything but the edge's public ports leaves loopback or the private network, or answers there all the
    same."""
    listeners = await view.listeners()
    ports = {one.endpoint.port for one in private_listeners(listeners, view.face) if one.protocol == "tcp"}
    answering = await view.answering(tuple(sorted(ports)))
    if view.apart:
        return judge_apart(listeners, view.face, answering)
    return judge_listeners(listeners, view.face, answering, view.not_apart)


def network_drills(
    view: HostingView, planted: Callable[[], AbstractAsyncContextManager[object]]
) -> tuple[Drill, ...]:
    """`planted` opens a private port in this machine's network, behind which nobody speaks, for as long as it
    lasts. Without a network of its own nothing is proved, and there is nothing to break."""
    if not view.apart:
        return ()

    @asynccontextmanager
    async def broken() -> AsyncGenerator[Probe]:
        async with planted():
            yield Probe("hosting.network", lambda: probe_network(view))

    return (Drill("hosting.network", "a private port was open in this machine's network", broken),)


def private_listeners(listeners: tuple[Listener, ...], face: PublicFace) -> list[Listener]:
    """All but the edge's public ports."""
    public = {face.https_port, face.http_port}
    return [one for one in listeners if not (one.process == "caddy" and one.endpoint.port in public)]


def judge_apart(listeners: tuple[Listener, ...], face: PublicFace, answering: Answering) -> Finding:
    """The verdict on sockets that stand in networks of the platform's own."""
    raw = _raw(listeners, answering)
    private = private_listeners(listeners, face)
    outside = [one for one in listeners if one.side == "public"]
    exposed = [one for one in outside if one in private]
    if exposed:
        names = ", ".join(f"{one.process} on {one.endpoint}" for one in exposed)
        return Finding("broken", f"In this machine's own network stands: {names}.", raw)
    if answering.answered:
        names = ", ".join(map(str, answering.answered[:_TOLD]))
        return Finding("broken", f"Private ports answer outside the private network: {names}.", raw)
    if not outside or not private:
        missing = "edge's public ports" if not outside else "private ports"
        return Finding("unknown", f"The {missing} cannot be seen.", raw)
    public = " and ".join(map(str, sorted({one.endpoint.port for one in outside})))
    return Finding(
        "proved",
        f"{len(private)} private sockets stand in networks of their own, and in this machine's network the "
        f"edge's ports {public} alone. None of the private ports answers at "
        f"{', '.join(answering.addresses)}, tried from this machine and from a network outside, on this "
        "machine.",
        raw,
    )


def _raw(listeners: tuple[Listener, ...], answering: Answering) -> dict[str, object]:
    return {
        "listeners": [f"{one.process} {one.protocol} {one.endpoint} {one.side}".strip() for one in listeners],
        "tried": list(answering.addresses),
        "answered": [str(one) for one in answering.answered],
    }


def judge_listeners(
    listeners: tuple[Listener, ...],
    face: PublicFace,
    answering: Answering = _NOT_TRIED,
    not_apart: str = "",
) -> Finding:
    """The verdict on a list of sockets. Loopback alone is not a network of one's own, so never `proved`;
    `not_apart` says why there is none."""
    raw = _raw(listeners, answering)
    if not listeners:
        return Finding(
            "unknown", "No listening socket was found; the platform's processes cannot be seen.", raw
        )
    private = private_listeners(listeners, face)
    exposed = [one for one in private if not ipaddress.ip_address(one.endpoint.host).is_loopback]
    if exposed:
        names = ", ".join(f"{one.process} on {one.endpoint}" for one in exposed)
        return Finding("broken", f"Reachable from outside the private side: {names}.", raw)
    if answering.answered:
        names = ", ".join(map(str, answering.answered))
        return Finding("broken", f"Private ports answer at a public address: {names}.", raw)
    tried = f", and none of their ports answers at {', '.join(answering.addresses)}"
    return Finding(
        "unknown",
        f"All {len(private)} private sockets listen on loopback alone{tried if answering.addresses else ''}; "
        f"a private network of its own is not set up on this machine{f': {not_apart}' if not_apart else ''}.",
        raw,
    )


async def probe_balancing(view: HostingView) -> Finding:
    """Ask every instance whether it is ready, and how scaling stands."""
    return judge_balancing(await look_at_instances(view), await view.acting(), view.now())


async def look_at_instances(view: HostingView) -> Seen:
    """Which instances answer."""
    instances = await view.instances()
    ready = await asyncio.gather(*(instance.ready() for instance in instances))
    return tuple((one.service, one.name, up) for one, up in zip(instances, ready, strict=True))


async def probe_https(face: PublicFace) -> Finding:
    """Send a plain request to every domain; broken when one gets more than a redirect to HTTPS."""
    faults: list[str] = []
    async with Visitor(face) as visitor:
        for domain in face.domains:
            answer = await visitor.request_plainly(domain, "/a/page?with=query")
            target = answer.headers.get("location", "")
            if answer.status_code not in (301, 308) or target != f"{face.origin(domain)}/a/page?with=query":
                faults.append(f"{domain} answered {answer.status_code} to a plain request")
            elif answer.content:
                faults.append(f"{domain} sent {len(answer.content)} bytes in plain text")
    raw: dict[str, object] = {"domains": list(face.domains), "faults": faults}
    if faults:
        return Finding("broken", "; ".join(faults) + ".", raw)
    return Finding(
        "proved",
        f"A plain request to each of {face.visited} got a redirect to HTTPS and nothing more.",
        raw,
    )


async def probe_hsts(face: PublicFace) -> Finding:
    """Hold every domain against the preload list's rules (hstspreload.org, "Submission Requirements")."""
    faults: list[str] = []
    async with Visitor(face) as visitor:
        for domain in face.domains:
            plain = await visitor.request_plainly(domain, "/")
            target = str(plain.headers.get("location", ""))
            if urlsplit(target).hostname != domain:
                faults.append(f"{domain} does not redirect to itself first")
            secure = await visitor.request("GET", domain, "/login")
            fault = judge_hsts(secure.headers.get("strict-transport-security", ""))
            if fault:
                faults.append(f"{domain} {fault}")
    raw: dict[str, object] = {"domains": list(face.domains), "faults": faults}
    if faults:
        return Finding("broken", "; ".join(faults) + ".", raw)
    return Finding(
        "proved",
        f"{face.visited}: valid certificate, redirect on the same host, max-age of a year or "
        "more, includeSubDomains, preload.",
        raw,
    )
