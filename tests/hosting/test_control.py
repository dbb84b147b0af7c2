"""The keeper's socket: whose it is, and what it stands."""

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from troth.core.errors import PlatformError, UsageError
from troth.hosting import control


async def answer(request: control.Answer) -> control.Answer:
    if request.get("do") == "fail":
        raise PlatformError("It cannot be done.", hint="Do something else.")
    if request.get("do") == "burst":
        raise KeyError("a defect")
    return {"heard": request}


async def ask(path: Path, request: control.Answer) -> control.Answer:
    return await asyncio.to_thread(control.ask, path, request, seconds=5.0)


async def test_a_request_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    async with control.serve(path, answer):
        assert await ask(path, {"do": "status"}) == {"heard": {"do": "status"}}
    assert not path.exists()


async def test_the_socket_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    async with control.serve(path, answer):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    """A unix socket's own path may have 107 characters at most."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    async with control.serve(folder / "keeper.sock", answer):
        assert await ask(folder / "keeper.sock", {"do": "x"}) == {"heard": {"do": "x"}}


async def test_a_failure_crosses_with_its_hint(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    async with control.serve(path, answer):
        with pytest.raises(PlatformError, match="It cannot be done") as caught:
            await ask(path, {"do": "fail"})
    assert caught.value.hint == "Do something else."


async def test_a_defect_is_told_to_whoever_asked(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    async with control.serve(path, answer):
        with pytest.raises(PlatformError, match="a defect"):
            await ask(path, {"do": "burst"})


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"{\n"])
async def test_nonsense_is_refused_and_the_next_request_answered(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "keeper.sock"
    async with control.serve(path, answer):
        assert b"error" in await asyncio.to_thread(send_raw, path, line)
        assert await ask(path, {"do": "x"}) == {"heard": {"do": "x"}}


async def test_an_oversized_request_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    async with control.serve(path, answer):
        line = b'{"do": "' + b"x" * control.REQUEST_LIMIT * 3 + b'"}\n'
        assert await asyncio.to_thread(send_raw, path, line) == b""
        assert await ask(path, {"do": "x"}) == {"heard": {"do": "x"}}


def send_raw(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5.0)
        connection.connect(str(path))
        try:
            connection.sendall(line)
            return connection.recv(65_536)
        except (BrokenPipeError, ConnectionResetError):
            return b""


async def test_a_socket_left_over_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keeper.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    async with control.serve(path, answer):
        assert await ask(path, {"do": "x"}) == {"heard": {"do": "x"}}


def test_nobody_at_the_socket_means_not_running(tmp_path: Path) -> None:
    with pytest.raises(control.NotRunning):
        control.ask(tmp_path / "none" / "keeper.sock", {"do": "status"})


async def test_a_wish_that_cannot_be_crosses_as_wrong_usage(tmp_path: Path) -> None:
    async def refuse(_: control.Answer) -> control.Answer:
        raise UsageError("There is no such thing.", hint="Name another.")

    async with control.serve(tmp_path / "keeper.sock", refuse):
        with pytest.raises(UsageError, match="no such thing") as caught:
            await ask(tmp_path / "keeper.sock", {"do": "x"})
    assert caught.value.hint == "Name another."
