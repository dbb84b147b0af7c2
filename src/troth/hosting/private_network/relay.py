"""The way out. Standard library only, so that it stays small.

    relay PUBLIC PORT TOLD NFT NETWORK …

In each NETWORK it listens on loopback: on PORT, where the rules lead what is declared, and for each name
server for datagrams. What comes is passed on from the network PUBLIC to where it was first meant for. The
file TOLD says, a line each:

    server ADDRESS PORT LISTENING-PORT      a name server
    name NAME PORT                          declared: what this name leads to may be reached on this port

At SIGHUP it reads the names again.

Before it passes an answer of a name server on, it has the addresses that a declared name leads to opened by
the program NFT: whoever asked connects at once. Connections and questions are bounded in number; what is
beyond is closed, so that whoever asks learns it.
"""

import asyncio
import ctypes
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable

from troth.hosting.private_network.naming import may_be_opened, read_answer

MOST_CONNECTIONS = 2000
MOST_QUESTIONS = 500
MOST_ADDRESSES = 10_000

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 6.0
"""A resolver asks again after five seconds (resolv.conf(5))."""

_PIECE = 256 * 1024
_DATAGRAM = 65_535
_CLONE_NEWNET = 0x40000000
_ORIGINAL = 80
"""SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST: what a connection was first meant for."""

HELD_SECONDS = 3600.0
"""As long as an address stays open after a name last led to it (rules.py)."""

OPEN_SECONDS = 3.0
"""The packet filter takes milliseconds."""

Place = tuple[str, int]


def main(public: str, port: int, told: str, nft: str, networks: list[str]) -> None:
    """Serve until SIGTERM."""
    servers, declared = _read(told)
    streams: list[socket.socket] = []
    datagrams: list[tuple[socket.socket, Place]] = []
    for network in networks:
        _enter(network)
        streams += [one for host in ("127.0.0.1", "::1") for one in _listen(host, port)]
        for server, listening in servers:
            host = "::1" if ":" in server[0] else "127.0.0.1"
            datagrams += [(one, server) for one in _bind(host, listening)]
    _enter(public)
    learned = _Learned(declared, nft, networks)
    asyncio.run(_Relay(port, learned).serve(streams, datagrams, lambda: learned.follow(_read(told)[1])))


class _Learned:
    """What declared names have been seen to lead to, opened in every network."""

    def __init__(self, declared: dict[str, list[int]], nft: str, networks: list[str]) -> None:
        self._declared = declared
        self._nft = nft
        self._networks = networks
        self._opened: dict[Place, float] = {}

    def follow(self, declared: dict[str, list[int]]) -> None:
        """Other names are declared from now on. What former ones led to ends with its hour."""
        self._declared = declared

    async def take(self, answer: bytes) -> None:
        """Open what an answer leads to, before anybody else has read it."""
        try:
            name, addresses = read_answer(answer)
        except ValueError:
            return
        ports = self._declared.get(name, ())
        places = [(one, port) for one in addresses if may_be_opened(one) for port in ports]
        now = time.monotonic()
        fresh = [one for one in places if now - self._opened.get(one, -HELD_SECONDS) > HELD_SECONDS / 2]
        if not fresh:
            return
        self._opened = {one: at for one, at in self._opened.items() if now - at < HELD_SECONDS}
        if len(self._opened) < MOST_ADDRESSES and await self._open(fresh):
            self._opened |= dict.fromkeys(fresh, now)

    async def _open(self, places: list[Place]) -> bool:
        """Put in anew, an element begins its time anew. What the program complains of is in the log."""
        lines = [
            f"{verb} element inet troth learned{6 if ':' in host else 4} {{ {host} . {port} }}"
            for host, port in places
            for verb in ("add", "delete", "add")
        ]
        transaction = ("\n".join(lines) + "\n").encode()
        for network in self._networks:
            argv = ("nsenter", f"--net={network}", "--", self._nft, "-f", "-")
            process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE)
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    await process.communicate(transaction)
            except TimeoutError:
                process.kill()
                await process.wait()
            if process.returncode != 0:
                return False
        return True


class _Relay:
    def __init__(self, port: int, learned: _Learned) -> None:
        self._learned = learned
        self._own = (("127.0.0.1", port), ("::1", port))
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions: set[asyncio.Task[None]] = set()

    async def serve(
        self,
        streams: list[socket.socket],
        datagrams: list[tuple[socket.socket, Place]],
        follow: Callable[[], None],
    ) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, follow)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        for listener in streams:
            await asyncio.start_server(self._take, sock=listener, limit=_PIECE)
        for asked, server in datagrams:
            loop.add_reader(asked, self._ask, asked, server)
        await stop.wait()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        meant = _meant_for(writer.get_extra_info("socket"))
        if meant is None or meant in self._own or len(self._tasks) >= MOST_CONNECTIONS:
            _refuse(writer)
            return
        self._tasks.add(task)
        try:
            await _pass_on(reader, writer, meant)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def _ask(self, asked: socket.socket, server: Place) -> None:
        try:
            question, sender = asked.recvfrom(_DATAGRAM)
        except BlockingIOError:  # it had come damaged, and the kernel has dropped it since
            return
        if len(self._questions) < MOST_QUESTIONS:
            task = asyncio.create_task(self._answer(asked, sender, server, question))
            self._questions.add(task)
            task.add_done_callback(self._questions.discard)

    async def _answer(self, asked: socket.socket, sender: Place, server: Place, question: bytes) -> None:
        """Nobody who serves names there, and the asker finds out by waiting, as over any wire."""
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        loop = asyncio.get_running_loop()
        with socket.socket(family, socket.SOCK_DGRAM) as onward:
            onward.setblocking(False)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    onward.connect(server)  # the answer of anybody else is not taken
                    await loop.sock_sendall(onward, question)
                    answer = await loop.sock_recv(onward, _DATAGRAM)
            except (OSError, TimeoutError):
                return
        await self._learned.take(answer)
        await loop.sock_sendto(asked, answer, sender)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, meant: Place) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            there, back = await asyncio.open_connection(*meant, limit=_PIECE)
    except (OSError, TimeoutError):
        _refuse(writer)
        return
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(reader, back))
            both.create_task(_copy(there, writer))
        for one in (back, writer):
            one.close()
            await one.wait_closed()
    except* OSError:  # one end is gone; the other is told by the end of its own connection
        pass
    finally:
        back.transport.abort()


def _refuse(writer: asyncio.StreamWriter) -> None:
    """As a reset: an end like any other would look like an answer without words."""
    accepted: socket.socket = writer.get_extra_info("socket")
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """To the end of one direction, which is passed on as such: the other may go on."""
    while piece := await source.read(_PIECE):
        target.write(piece)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()


def _meant_for(accepted: socket.socket) -> Place | None:
    """The destination before the rules led it here; None when it came here by itself."""
    six = accepted.family == socket.AF_INET6
    level, size = (socket.IPPROTO_IPV6, 28) if six else (socket.IPPROTO_IP, 16)
    try:
        held = accepted.getsockopt(level, _ORIGINAL, size)
    except OSError:
        return None
    port = struct.unpack("!H", held[2:4])[0]
    raw = held[8:24] if six else held[4:8]
    return socket.inet_ntop(accepted.family, raw), port


def _listen(host: str, port: int) -> list[socket.socket]:
    """None in a kernel without IPv6."""
    made = _socket(host, port, socket.SOCK_STREAM)
    for one in made:
        one.listen(socket.SOMAXCONN)
    return made


def _bind(host: str, port: int) -> list[socket.socket]:
    return _socket(host, port, socket.SOCK_DGRAM)


def _socket(host: str, port: int, kind: int) -> list[socket.socket]:
    if ":" in host and not os.path.exists("/proc/net/if_inet6"):  # noqa: PTH110 - pathlib costs start time
        return []
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.setblocking(False)
    opened.bind((host, port))
    return [opened]


def _read(told: str) -> tuple[list[tuple[Place, int]], dict[str, list[int]]]:
    servers: list[tuple[Place, int]] = []
    declared: dict[str, list[int]] = {}
    with open(told) as file:  # noqa: PTH123
        for line in file:
            match line.split():
                case ["server", host, port, listening]:
                    servers.append(((host, int(port)), int(listening)))
                case ["name", name, port]:
                    declared.setdefault(name.lower().rstrip("."), []).append(int(port))
                case _:
                    raise ValueError(f"{told}: {line!r}")
    return servers, declared


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
