"""Hosts as network namespaces behind a router, which drops what a test wants dropped.

    router  10.77.N.1 towards each host N
    host N  10.77.N.2, its default route is the router

A dropped packet is dropped in silence, in one direction and if wanted of some ports alone: policy routing in
the router sends it into a black hole, and neither side is told anything. Everything happens in network
namespaces of our own (for a normal user in a user namespace as well): the machine's network is not touched,
and all of it is gone as soon as its processes are.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
import pytest

_PROGRAMS = ("ip", "unshare", "nsenter", "setpriv")
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_HOLD = ("sleep", "infinity")
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

Direction = Literal["to", "from", "both"]


class Cut(msgspec.Struct, frozen=True):
    """What the router drops: packets from one host to another, of any port or of some TCP ports alone."""

    source: int
    target: int
    port: int | None = None

    def rule(self) -> tuple[str, ...]:
        """The selector of ip-rule(8)."""
        ports = () if self.port is None else ("ipproto", "tcp", "dport", str(self.port))
        return ("iif", f"h{self.source}", "to", f"10.77.{self.target}.2", *ports, "blackhole")


class Namespace:
    """One host's network. `run` is put in front of a command to run it there."""

    def __init__(self, holder: subprocess.Popen[bytes], *, user: bool) -> None:
        self._holder = holder
        self._user = user

    @property
    def pid(self) -> int:
        return self._holder.pid

    def run(self, *argv: str) -> tuple[str, ...]:
        """The command that runs `argv` in this network."""
        user = ("--user", "--preserve-credentials") if self._user else ()
        return (_program("nsenter"), "--target", str(self.pid), "--net", *user, "--", *argv)

    def ip(self, *words: str) -> None:
        """Run ip(8) there; its complaint is shown when it fails."""
        done = subprocess.run(self.run(_program("ip"), *words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(10)


class Network:
    """A router and hosts, numbered from 1. Make it with `network`."""

    def __init__(self, router: Namespace, hosts: dict[int, Namespace]) -> None:
        self._router = router
        self._hosts = hosts
        self._cuts: list[Cut] = []

    def host(self, number: int) -> Namespace:
        return self._hosts[number]

    def drop(self, *cuts: Cut) -> None:
        """Drop these packets from now on, those of connections that stand included."""
        for cut in cuts:
            self._router.ip("rule", "add", *cut.rule(), "pref", "10")
            self._cuts.append(cut)

    def heal(self) -> None:
        """Drop nothing any more."""
        while self._cuts:
            self._router.ip("rule", "del", *self._cuts.pop().rule(), "pref", "10")


def address(number: int) -> str:
    """The address of a host."""
    return f"10.77.{number}.2"


def between(
    one: int, others: tuple[int, ...], direction: Direction = "both", port: int | None = None
) -> list[Cut]:
    """Cuts between one host and others: what goes `to` it, what comes `from` it, or both."""
    cuts: list[Cut] = []
    for other in others:
        if direction in ("to", "both"):
            cuts.append(Cut(other, one, port))
        if direction in ("from", "both"):
            cuts.append(Cut(one, other, port))
    return cuts


@contextmanager
def network(hosts: int) -> Generator[Network]:
    """A network for as long as the block lasts. Skips the test, with the reason, where none can be made."""
    user = os.geteuid() != 0
    _check_machine(user)
    made: list[Namespace] = []
    try:
        inner = ("--user", "--map-root-user") if user else ()
        router = _hold((_program("unshare"), *inner, "--net"), user=user)
        made.append(router)
        _enable_forwarding(router)
        found: dict[int, Namespace] = {}
        for number in range(1, hosts + 1):
            found[number] = _hold(router.run(_program("unshare"), "--net"), user=user)
            made.append(found[number])
            _connect(router, found[number], number)
        yield Network(router, found)
    finally:
        for one in reversed(made):
            one.close()


def _check_machine(user: bool) -> None:
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_SEARCH) is None]
    if missing:
        pytest.skip(f"no network namespaces without {', '.join(missing)} (Debian: iproute2, util-linux)")
    inner = ("--user", "--map-root-user") if user else ()
    done = subprocess.run(
        (_program("unshare"), *inner, "--net", "true"), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"this machine allows no network namespaces: {done.stderr.strip()}")


def _hold(how: tuple[str, ...], *, user: bool) -> Namespace:
    """A process that does nothing, and whose network is a new one."""
    process = subprocess.Popen((*_DIE_WITH_PARENT, *how, *_DIE_WITH_PARENT, *_HOLD))
    outside = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + 10
    while _program_of(process.pid) != _HOLD[0] or Path(f"/proc/{process.pid}/ns/net").readlink() == outside:
        assert time.monotonic() < end and process.poll() is None, f"{how} made no network"
        time.sleep(0.01)
    return Namespace(process, user=user)


def _program_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _enable_forwarding(router: Namespace) -> None:
    for name in ("ip_forward", "conf/all/rp_filter"):
        value = "1" if name == "ip_forward" else "0"
        words = ("sh", "-c", f"echo {value} > /proc/sys/net/ipv4/{name}")
        subprocess.run(router.run(*words), check=True)
    router.ip("link", "set", "lo", "up")


def _connect(router: Namespace, host: Namespace, number: int) -> None:
    router.ip("link", "add", f"h{number}", "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
    router.ip("addr", "add", f"10.77.{number}.1/24", "dev", f"h{number}")
    router.ip("link", "set", f"h{number}", "up")
    host.ip("link", "set", "lo", "up")
    host.ip("addr", "add", f"{address(number)}/24", "dev", "eth0")
    host.ip("link", "set", "eth0", "up")
    host.ip("route", "add", "default", "via", f"10.77.{number}.1")


def _program(name: str) -> str:
    found = shutil.which(name, path=_SEARCH)
    assert found is not None
    return found
