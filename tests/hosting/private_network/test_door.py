"""The edge with the sockets that it is handed: opened in one network, served from another."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from support.edge import RESIDENTS, World, listening
from support.http3 import connected
from support.waiting import until
from troth.hosting import isolation
from troth.hosting.edge_admin import caddy_binary, start_spec
from troth.hosting.firewall.nft import find_program
from troth.hosting.private_network import door
from troth.hosting.private_network.possible import obstacle

OWN = Path("/proc/self/ns/net")
NO_METHOD, REFUSED = "BREW", 405
"""What the edge answers by itself: no instance is in its network."""


@contextmanager
def another_network() -> Generator[str]:
    """The name of a network with nothing in it but loopback, until the end of the block."""
    argv = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--", "sh", "-c")
    made = f"'{find_program('ip', 'iproute2')}' link set lo up; exec cat"
    with subprocess.Popen((*argv, made), stdin=subprocess.PIPE) as holder:
        yield f"/proc/{holder.pid}/ns/net"
        holder.kill()


async def test_http_1_and_http_3_are_spoken_over_the_sockets_that_were_handed_in(tmp_path: Path) -> None:
    why = obstacle(isolation.probe())
    if why:
        pytest.skip(f"no private network here: {why}")
    world = World(tmp_path)
    world.state = msgspec.structs.replace(world.state, handed=True)
    spec = start_spec(world.state, binary=caddy_binary(), log=tmp_path / "caddy.out")
    with another_network() as edge:
        await until(lambda: Path(edge).readlink() != OWN.readlink())
        ports = (str(world.state.https_port), str(world.state.http_port))
        first = (sys.executable, "-I", "-S", str(Path(door.__file__)), str(OWN), edge, "127.0.0.1", *ports)
        try:
            world.run_edge(msgspec.structs.replace(spec, argv=(*first, *spec.argv)))
            await listening(world.state.https_port)
            request = f"{NO_METHOD} /login HTTP/1.1\r\nHost: {RESIDENTS}\r\nConnection: close\r\n\r\n"
            assert (await world.raw(request.encode())).startswith(f"HTTP/1.1 {REFUSED} ".encode())
            async with connected(world.state.https_port, world.authorities.ca("public")) as http3:
                assert await http3.get("/login", method=NO_METHOD) == REFUSED
        finally:
            await world.stop()
