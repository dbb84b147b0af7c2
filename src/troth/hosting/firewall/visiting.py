"""A look at this machine from outside: from a network that is there for this look alone, on a virtual cable.

What comes over the cable passes the same chains as what comes over the wire. Rules that look at the interface
or at the sender may still tell the two apart, and what stands before this machine is not seen.
"""

import asyncio
import ipaddress
import secrets
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec

from troth.core.errors import PlatformError
from troth.hosting import isolation
from troth.hosting.firewall import outside
from troth.hosting.firewall.nft import find_program

SCAN_SECONDS = 60.0
"""All ports of one address take seconds; this bounds a machine that is busy."""

_START_SECONDS = 20.0

_NETWORKS = ("192.0.2.252/30", "198.51.100.252/30", "203.0.113.252/30")
_NETWORKS_6 = ("2001:db8:ffff:2::/126", "2001:db8:ffff:4::/126")
"""Networks that belong to nobody (RFC 5737, RFC 3849)."""


class Scan(msgspec.Struct, frozen=True):
    """All TCP ports of an address, tried from outside: which of them answered, `open` or `closed`."""

    address: str
    answered: dict[int, str]

    @property
    def open(self) -> tuple[int, ...]:
        return tuple(port for port, how in self.answered.items() if how == "open")


async def scan(
    addresses: tuple[str, ...], again: tuple[int, ...], known: tuple[str, ...], before: tuple[str, ...] = ()
) -> tuple[Scan, ...]:
    """Try every TCP port of these addresses of this machine, as a stranger; `again` are tried twice. Networks
    that are `known` are let in to more than strangers; `before` leads to this machine's network, for whoever
    is in another. Raises PlatformError where that is not possible."""
    async with visitor(outside.__file__, known, before) as stranger:
        return tuple([await _scan(stranger, address, again) for address in addresses])


async def _scan(visitor: asyncio.subprocess.Process, address: str, again: tuple[int, ...]) -> Scan:
    assert visitor.stdin is not None
    assert visitor.stdout is not None
    visitor.stdin.write(f"{address} {' '.join(map(str, again))}\n".encode())
    answered: dict[int, str] = {}
    try:
        async with asyncio.timeout(SCAN_SECONDS):
            while (line := await visitor.stdout.readline()) != b"done\n":
                if not line:
                    raise PlatformError(f"The look at {address} from outside ended early.")
                port, how = line.decode().split()
                answered[int(port)] = how
    except TimeoutError as error:
        raise PlatformError(f"The look at {address} from outside took too long.") from error
    return Scan(address, answered)


@asynccontextmanager
async def visitor(
    program: str, known: tuple[str, ...], before: tuple[str, ...] = ()
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Somebody in a network of their own, running a program that says `ready`. The network ends with them,
    whoever ends them, and the cable with it. Raises PlatformError where that is not possible."""
    argv = (str(find_program("unshare", "util-linux")), "--net", "--", sys.executable, "-I", "-S")
    process = await asyncio.create_subprocess_exec(
        *isolation.guard((*argv, program)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"LANG": "C.UTF-8"},
        cwd="/",
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            if await process.stdout.readline() != b"ready\n":
                raise PlatformError("No network can be made to look from.")
            await _join(process.pid, known, before)
        yield process
    except TimeoutError as error:
        raise PlatformError("The network to look from did not come up in time.") from error
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _join(pid: int, known: tuple[str, ...], before: tuple[str, ...]) -> None:
    ours = f"troth-{secrets.token_hex(4)}"
    there = (str(find_program("nsenter", "util-linux")), "--target", str(pid), "--net", "--")
    await _ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", str(pid), before=before)
    await _ip("link", "set", ours, "up", before=before)
    await _ip("link", "set", "eth0", "up", before=there)
    for networks in (_NETWORKS, _NETWORKS_6):
        if networks is _NETWORKS_6 and not await _has_ipv6(ours, before):
            continue
        network = _free(networks, known)
        near, far = f"{network[1]}/{network.prefixlen}", f"{network[2]}/{network.prefixlen}"
        extra = ("nodad",) if network.version == 6 else ()
        await _ip("address", "add", near, "dev", ours, *extra, before=before)
        await _ip("address", "add", far, "dev", "eth0", *extra, before=there)
        kind = (f"-{network.version}",)
        await _ip(*kind, "route", "add", "default", "via", str(network[1]), before=there)


async def _has_ipv6(interface: str, before: tuple[str, ...]) -> bool:
    """A kernel without IPv6 has no such address at any interface."""
    return bool(await _ip("-6", "-o", "address", "show", "dev", interface, before=before))


def _free(networks: tuple[str, ...], known: tuple[str, ...]) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The first in which nobody is known."""
    held = [ipaddress.ip_network(one) for one in known]
    found = [ipaddress.ip_network(one) for one in networks]
    free = [one for one in found if not any(one.version == k.version and one.overlaps(k) for k in held)]  # pyright: ignore
    if not free:
        raise PlatformError("Every network to look from is one that administrators come from.")
    return free[0]


async def _ip(*words: str, before: tuple[str, ...] = ()) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *before,
        str(find_program("ip", "iproute2")),
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await process.communicate()
    if process.returncode != 0:
        raise PlatformError(f"ip {' '.join(words[:4])} failed: {complaint.decode(errors='replace')[:200]}")
    return said
