"""As root an application's instance is a user of its own, who sees nothing of the platform, tried by one."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import troth
from troth.hosting.instance_file import InstanceFile
from troth.hosting.own_user import number_of
from troth.hosting.ports import free_ports
from troth.hosting.wire import encode

TRIES = """
import ctypes, json, os, pathlib, sys, threading
sys.path += sys.argv[3:]
from troth.hosting import confinement, own_user
from troth.hosting.instance_file import InstanceFile
from troth.hosting.wire import decode

instance = decode(pathlib.Path(sys.argv[1]).read_bytes(), InstanceFile)
own_user.TASKS = 20
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(1, 9, 0, 0, 0)
if sys.argv[2] == "alone":  # what its user may do, without any other means
    confinement.landlock_version = lambda: 0
said = {"held": confinement.confine(instance)}

def attempt(name, work):
    try:
        said[name] = work()
    except Exception as error:
        said[name] = type(error).__name__

def call(done):
    return "done" if done == 0 else os.strerror(ctypes.get_errno())

def asked_to_die_with():
    number = ctypes.c_int()
    libc.prctl(2, ctypes.byref(number), 0, 0, 0)
    return number.value

folder, state = instance.folder, instance.forbidden
attempt("who", lambda: [os.getuid(), os.getgid(), *os.getgroups()])
attempt("dies with", asked_to_die_with)
attempt("own file", lambda: (folder / "deep" / "page.html").read_text())
attempt("own program", lambda: oct((folder / "tool").stat().st_mode))
attempt("here", lambda: str(pathlib.Path.cwd()))
attempt("write in its folder", lambda: (folder / "new").write_text("x"))
attempt("own certificate", lambda: instance.key.read_text())
attempt("change its certificate", lambda: instance.key.write_text("x"))
attempt("temporary", lambda: (instance.temporary / "new").write_text("x"))
attempt("pulse", lambda: instance.pulse.write_bytes(b"beat"))
attempt("state", lambda: sorted(os.listdir(state)))
attempt("root key", lambda: (state / "keys" / "root.key").read_text())
attempt("write in the state", lambda: (state / "new").write_text("x"))
attempt("take the cover away", lambda: call(libc.umount2(str(state).encode(), 2)))
attempt("become root", lambda: os.setresuid(0, 0, 0))
attempt("shadow", lambda: pathlib.Path("/etc/shadow").read_text())
attempt("environment of the parent", lambda: pathlib.Path(f"/proc/{os.getppid()}/environ").read_bytes())
attempt("signal to the parent", lambda: os.kill(os.getppid(), 0))
attempt("home", lambda: os.environ["HOME"])
rows = open("/proc/self/status").read().splitlines()
sets = {row.split()[1] for row in rows if row.startswith(("CapEff", "CapPrm", "CapInh", "CapBnd"))}
said["capabilities"] = sorted(sets)
over = threading.Event()
attempt("thirty threads", lambda: [threading.Thread(target=over.wait).start() for _ in range(30)])
over.set()
print(json.dumps(said))
"""

SYSTEM = Path("/usr/bin") / f"python{sys.version_info.major}.{sys.version_info.minor}"
"""An interpreter that any user may run: that of the tests may lie in root's home."""


def open_to_all(path: Path) -> bool:
    return path.exists() and all(one.stat().st_mode & 0o001 for one in (path, *path.parents) if one.is_dir())


LIBRARIES = (Path(troth.__file__).parents[1], Path(sysconfig.get_paths()["purelib"]))
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not SYSTEM.exists() or not all(map(open_to_all, LIBRARIES)),
    reason="needs root, and an interpreter and libraries that everybody may read",
)


class Place:
    """A platform's folder with a release in it, below a folder that everybody may search."""

    def __init__(self, root: Path) -> None:
        root.chmod(0o755)
        self.state = root / "state"
        for folder in ("keys", "releases/toy/1/deep", "run/instances/toy-1.tmp", "run/certificates"):
            (self.state / folder).mkdir(parents=True, mode=0o700)
        self.state.chmod(0o700)
        self.release = self.state / "releases/toy/1"
        for name, text in (("deep/page.html", "own page"), ("tool", "#!/bin/sh\n")):
            (self.release / name).write_text(text)
            (self.release / name).chmod(0o700 if name == "tool" else 0o600)
        self._write("keys/root.key", "secret")
        self.leaf = self._write("run/certificates/leaf.key", "own certificate")
        self.pulse = self._write("run/instances/toy-1.pulse", "")

    def _write(self, name: str, text: str) -> Path:
        file = self.state / name
        file.write_text(text)
        file.chmod(0o600)
        return file

    def try_it(self, user: int, means: str = "alone") -> dict[str, Any]:
        """What a process that was confined reports of its attempts."""
        instance = InstanceFile(
            name="toy-1",
            kind="app",
            target="toy:app",
            folder=self.release,
            port=free_ports(1)[0],
            certificate=self.leaf,
            key=self.leaf,
            client_ca=self.leaf,
            pulse=self.pulse,
            forbidden=self.state,
            temporary=self.state / "run/instances/toy-1.tmp",
            user=user,
        )
        file = self.state / "instance.json"
        file.write_bytes(encode(instance))
        command = (str(SYSTEM), "-I", "-c", TRIES, str(file), means, *map(str, LIBRARIES))
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, cwd=self.release
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def place() -> Generator[Place]:
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    yield Place(root)
    shutil.rmtree(root)


def test_it_is_a_user_of_its_own_and_reaches_its_own_files_alone(place: Place) -> None:
    user = number_of(place.state, "toy")
    said = place.try_it(user)
    if any("mount namespaces" in words for words in said["held"]):
        pytest.skip("this machine forbids mount namespaces")
    assert f"user {user} with 20 processes" in said["held"]
    assert said["thirty threads"] == "RuntimeError"
    assert said["who"] == [user, user]
    assert set(said["capabilities"]) == {"0" * 16}
    assert said["dies with"] == 9
    assert (said["own file"], said["own certificate"]) == ("own page", "own certificate")
    assert (said["own program"], said["here"]) == ("0o100750", str(place.release))
    assert (said["temporary"], said["pulse"]) == (1, 4)
    assert place.pulse.read_bytes() == b"beat", "the keeper reads what it tells"
    assert said["home"] == str(place.state / "run/instances/toy-1.tmp")
    assert said["state"] == ["releases", "run"]
    assert said["root key"] == "FileNotFoundError"
    for attempt in ("write in its folder", "change its certificate", "write in the state"):
        assert said[attempt] in ("OSError", "PermissionError"), attempt
    for attempt in ("become root", "shadow", "environment of the parent", "signal to the parent"):
        assert said[attempt] == "PermissionError", attempt
    assert said["take the cover away"] == "Operation not permitted"
    assert (place.state / "keys/root.key").read_text() == "secret", "nothing changed for anybody else"
    again = place.try_it(user, "with Landlock")
    for attempt in ("who", "own file", "own certificate", "temporary", "pulse", "here"):
        assert again[attempt] == said[attempt], "the other means take nothing away that it needs"


def test_it_stays_root_and_says_why_where_its_user_could_not_read_what_it_needs(place: Place) -> None:
    place.state.parent.chmod(0o700)
    said = place.try_it(number_of(place.state, "toy"))
    assert any(words.startswith("NO user of its own: it could not read") for words in said["held"])
    assert said["who"][:2] == [0, 0]
    assert set(said["capabilities"]) == {"0" * 16}


def test_numbers_are_apart_from_those_that_are_given_out_and_from_one_another() -> None:
    numbers = {number_of(Path(f"/var/lib/troth-{n}"), name) for n in range(20) for name in ("a", "b")}
    assert len(numbers) == 40
    assert min(numbers) >= 1_900_000_000
    assert max(numbers) < 2**31
    assert number_of(Path("/a"), "b") == number_of(Path("/a"), "b")
