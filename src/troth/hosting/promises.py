"""The hosting promises, and the three promises of the data room that the edge keeps: https, ciphers, hsts.

hosting.network     every private socket listens on loopback
hosting.balancing   see hosting/balancing
data.https          a plain request is redirected and gets nothing more
data.ciphers        see hosting/tls
data.hsts           the published rules of the browsers' preload list
"""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from troth.core.process import Endpoint
from troth.core.promise import Finding, Probe
from troth.core.reach import PublicFace, Visitor
from troth.hosting.balancing import Acting, Seen, judge_balancing
from troth.hosting.tls import promise as ciphers
from troth.hosting.tls.hsts import judge_hsts


class Listener(msgspec.Struct, frozen=True):
    """A listening socket of the platform: `process` is its program, `protocol` tcp or udp."""

    process: str
    protocol: str
    endpoint: Endpoint


class ServiceInstance(msgspec.Struct, frozen=True):
    """An instance as the edge balances over it; `ready` asks the instance itself, over mutual TLS."""

    service: str
    name: str
    ready: Callable[[], Awaitable[bool]]


class Answering(msgspec.Struct, frozen=True):
    """Private ports tried at the public addresses of this machine: where, and what answered there."""

    addresses: tuple[str, ...]
    answered: tuple[Endpoint, ...]


_NOT_TRIED = Answering((), ())


class HostingView(msgspec.Struct, frozen=True):
    """What the probes need to see of a running platform. `answering` tries ports of public addresses."""

    face: PublicFace
    listeners: Callable[[], Awaitable[tuple[Listener, ...]]]
    answering: Callable[[tuple[int, ...]], Awaitable[Answering]]
    instances: Callable[[], Awaitable[tuple[ServiceInstance, ...]]]
    acting: Callable[[], Awaitable[Acting]]
    now: Callable[[], datetime]


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
    anything but the edge's public ports leaves loopback, or answers there all the same."""
    listeners = await view.listeners()
    ports = {one.endpoint.port for one in private_listeners(listeners, view.face) if one.protocol == "tcp"}
    return judge_listeners(listeners, view.face, await view.answering(tuple(sorted(ports))))


def private_listeners(listeners: tuple[Listener, ...], face: PublicFace) -> list[Listener]:
    """All but the edge's public ports."""
    public = {face.https_port, face.http_port}
    return [one for one in listeners if not (one.process == "caddy" and one.endpoint.port in public)]


def judge_listeners(
    listeners: tuple[Listener, ...], face: PublicFace, answering: Answering = _NOT_TRIED
) -> Finding:
    """The verdict on a list of sockets. Loopback alone is not a network of one's own, so never `proved`."""
    raw: dict[str, object] = {
        "listeners": [f"{one.process} {one.protocol} {one.endpoint}" for one in listeners],
        "tried": list(answering.addresses),
        "answered": [str(one) for one in answering.answered],
    }
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
        "a private network of its own is not set up on this machine.",
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
