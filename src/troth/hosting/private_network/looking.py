"""Whether private ports answer outside the private network: tried from this machine's own network, and from a
network that stands for the public one."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from troth.core.errors import PlatformError
from troth.core.process import Endpoint
from troth.core.state import State
from troth.hosting import isolation
from troth.hosting.firewall.visiting import visitor
from troth.hosting.private_network import crossing, knocking
from troth.hosting.promises import Answering

ANSWER_SECONDS = 2.0
"""Within this machine a port answers, or refuses, at once; a filter that drops says nothing at all."""

LIMIT_SECONDS = 60.0
"""For all of them; this bounds a machine that is busy."""

_ELSEWHERE = ("192.0.2.252/30", "2001:db8:ffff:2::/126")
"""Where the firewall's probe looks from: this one takes the next, for both may look at once."""

_LOOPBACK = "127.0.0.1"


async def look(state: State, addresses: tuple[str, ...], ports: tuple[int, ...]) -> Answering:
    """Try every port at every address of this machine from a strange network, and from this machine itself at
    its loopback too. Raises PlatformError where that is not possible."""
    before = crossing.before(state)
    async with _here(before) as here, visitor(knocking.__file__, _ELSEWHERE, before) as stranger:
        found = await asyncio.gather(
            _knock(here, (_LOOPBACK, *addresses), ports), _knock(stranger, addresses, ports)
        )
    answered = tuple(sorted({*found[0], *found[1]}, key=str))
    return Answering((_LOOPBACK, *addresses), answered)


async def _knock(
    process: asyncio.subprocess.Process, addresses: tuple[str, ...], ports: tuple[int, ...]
) -> list[Endpoint]:
    assert process.stdin is not None
    assert process.stdout is not None
    words = " ".join(f"{address} {port}" for address in addresses for port in ports)
    process.stdin.write(f"{ANSWER_SECONDS} {words}\n".encode())
    found: list[Endpoint] = []
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            while (line := await process.stdout.readline()) != b"done\n":
                if not line:
                    raise PlatformError("The look at the private ports from outside ended early.")
                address, port = line.decode().split()
                found.append(Endpoint(address, int(port)))
    except TimeoutError as error:
        raise PlatformError("The look at the private ports from outside took too long.") from error
    return found


@asynccontextmanager
async def _here(before: tuple[str, ...]) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *isolation.guard((*before, sys.executable, "-I", "-S", knocking.__file__)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
        cwd="/",
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            if await process.stdout.readline() != b"ready\n":
                raise PlatformError("This machine's network cannot be looked at.")
        yield process
    except TimeoutError as error:
        raise PlatformError("The look at this machine's network did not begin in time.") from error
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
