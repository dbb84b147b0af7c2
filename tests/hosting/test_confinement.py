"""What a confined process can no longer do, tried by one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from troth.hosting.confinement import landlock_version, without
from troth.hosting.instance_file import InstanceFile
from troth.hosting.ports import free_ports
from troth.hosting.wire import encode

TRIES = """
import ctypes, json, os, pathlib, signal, socket, subprocess, sys, tempfile
from troth.hosting.confinement import confine
from troth.hosting.instance_file import InstanceFile
from troth.hosting.wire import decode

instance = decode(pathlib.Path(sys.argv[1]).read_bytes(), InstanceFile)
other = int(sys.argv[2])
held = confine(instance)
said = {"held": held}

def attempt(name, work):
    try:
        said[name] = str(work())[:60]
    except Exception as error:
        said[name] = type(error).__name__

def bind(port):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))
    return "bound"

def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    return os.strerror(ctypes.get_errno()) if libc.syscall(number, *arguments) < 0 else "done"

folder, state = instance.folder, instance.forbidden
attempt("own file", lambda: (folder / "page.html").read_text())
attempt("own names", lambda: "page.html" in os.listdir(folder))
attempt("own certificate", lambda: instance.certificate.read_text())
attempt("root key", lambda: (state / "root.key").read_text())
attempt("write in the state", lambda: (state / "new").write_text("x"))
attempt("write in its folder", lambda: (folder / "new").write_text("x"))
attempt("shadow", lambda: pathlib.Path("/etc/shadow").read_text())
attempt("home", lambda: os.listdir(pathlib.Path.home()))
attempt("temporary", lambda: (instance.temporary / "new").write_text("x"))
attempt("environment of another", lambda: pathlib.Path(f"/proc/{other}/environ").read_bytes())
attempt("memory of another", lambda: open(f"/proc/{other}/mem", "rb"))
attempt("signal to another", lambda: os.kill(other, signal.SIGTERM))
attempt("own port", lambda: bind(instance.port))
attempt("another port", lambda: bind(instance.port + 1))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("socket pair", lambda: bool(socket.socketpair()))
attempt("internet socket", lambda: bool(socket.socket()))
unshare, ptrace = (272, 101) if os.uname().machine == "x86_64" else (97, 117)
attempt("namespace", lambda: call(unshare, 0x10000000))
attempt("trace", lambda: call(ptrace, 16, other, 0, 0))

def run(*command):
    return subprocess.run(command, capture_output=True, text=True)

def privileges():
    return next(row.split()[1] for row in open("/proc/self/status") if row.startswith("CapEff"))

attempt("child", lambda: run("/bin/echo", "hello").stdout.strip())
attempt("child reads the key", lambda: run("/bin/cat", state / "root.key").returncode)
attempt("resolve", lambda: bool(socket.getaddrinfo("localhost", 1)))
attempt("privileges", privileges)
print(json.dumps(said))
"""

REFUSED = (
    *("root key", "write in the state", "write in its folder", "shadow", "home", "environment of another"),
    *("memory of another", "signal to another", "another port", "unix socket"),
)

pytestmark = pytest.mark.skipif(landlock_version() < 6, reason="needs Landlock 6 (Linux 6.12)")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process that was confined reports of its attempts on this one."""
    folder = tmp_path_factory.mktemp("application")
    state, temporary = folder / ".troth", folder / ".troth" / "temporary"
    temporary.mkdir(parents=True)
    (folder / "page.html").write_text("own page")
    (state / "root.key").write_text("secret")
    (state / "leaf.pem").write_text("own certificate")
    leaf = state / "leaf.pem"
    instance = InstanceFile(
        name="toy-1",
        kind="app",
        target="toy:app",
        folder=folder,
        port=free_ports(1)[0],
        certificate=leaf,
        key=leaf,
        client_ca=leaf,
        forbidden=state,
        temporary=temporary,
    )
    file = folder / "instance.json"
    file.write_bytes(encode(instance))
    command = (sys.executable, "-I", "-c", TRIES, str(file), str(os.getpid()))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("attempt", REFUSED)
def test_what_an_application_does_not_need_is_refused(said: dict[str, Any], attempt: str) -> None:
    assert said[attempt] in ("PermissionError", "FileNotFoundError")


def test_nobody_is_traced_and_no_namespace_is_made(said: dict[str, Any]) -> None:
    assert said["trace"] == said["namespace"] == "Operation not permitted"
    assert said["privileges"].strip("0") == ""


def test_a_child_is_held_like_its_parent(said: dict[str, Any]) -> None:
    assert said["child"] == "hello"
    assert said["child reads the key"] != "0"


def test_what_it_needs_works(said: dict[str, Any]) -> None:
    assert said["own file"] == "own page"
    assert said["own certificate"] == "own certificate"
    for attempt in ("own names", "socket pair", "internet socket", "resolve"):
        assert said[attempt] == "True"
    assert (said["temporary"], said["own port"]) == ("1", "bound")


def test_a_folder_without_one_below_it_is_named_piece_by_piece(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    state.mkdir(parents=True)
    (tmp_path / "a" / "beside").touch()
    (tmp_path / "b").mkdir()
    read, listed = without(tmp_path, state)
    assert set(read) == {tmp_path / "a" / "beside", tmp_path / "b"}
    assert set(listed) == {tmp_path, tmp_path / "a"}
    assert without(tmp_path / "b", state) == ((tmp_path / "b",), ())
    assert without(state / "run", state) == ((), ())
