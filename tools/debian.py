"""Puts programs that only Debian carries into .tools/bin: `python3 tools/debian.py etcd chromium`.

A program on PATH is linked to. Otherwise its packages are unpacked under .tools/debian and a wrapper starts
it from there. Nothing is installed on the system and no root right is needed.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from apt import Apt, AptFailed

TOOLS = Path(__file__).resolve().parent.parent / ".tools"


class Program(NamedTuple):
    """Which packages bring a program and where it lies in them; `alone` if it needs none of their needs.
    Asked `question`, it ends with the status `answer`."""

    packages: tuple[str, ...]
    path: str
    alone: bool = False
    question: str = "--version"
    answer: int = 0


PROGRAMS = {
    "etcd": Program(("etcd-server",), "usr/bin/etcd", alone=True),
    "openssl": Program(("openssl",), "usr/bin/openssl", question="version"),
    "curl": Program(("curl",), "usr/bin/curl"),
    "pebble": Program(("pebble",), "usr/bin/pebble", alone=True, question="-help"),
    "nft": Program(("nftables",), "usr/sbin/nft"),
    "ip": Program(("iproute2",), "bin/ip", question="-V"),
    "h2load": Program(("nghttp2-client",), "usr/bin/h2load"),
    "faketime": Program(("faketime", "libfaketime"), "usr/bin/faketime", alone=True),
    "certutil": Program(("libnss3-tools",), "usr/bin/certutil", question="-H", answer=1),
    "chromium": Program(("chromium", "fonts-dejavu-core"), "usr/lib/chromium/chromium"),
}

WRAPPER = """#!/bin/sh
# Made by tools/debian.py: starts {name} out of the unpacked Debian packages beside this folder.
tree=$(dirname "$(dirname "$(readlink -f "$0")")")/debian/{name}
LD_LIBRARY_PATH={libraries}
FONTCONFIG_FILE=$tree/fonts.conf
XDG_DATA_DIRS=$tree/usr/share:${{XDG_DATA_DIRS:-/usr/local/share:/usr/share}}
export LD_LIBRARY_PATH FONTCONFIG_FILE XDG_DATA_DIRS
[ ! -f "$tree/etc/ssl/openssl.cnf" ] || export OPENSSL_CONF="$tree/etc/ssl/openssl.cnf"
exec "$tree/{path}" "$@"
"""

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(PROGRAMS), metavar="PROGRAM")
    parser.add_argument("--ignore-system", action="store_true", help="unpack even what is on PATH")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="the folder to fill (default: .tools)")
    asked = parser.parse_args()
    tools: Path = asked.tools.resolve()
    (tools / "bin").mkdir(parents=True, exist_ok=True)
    with (tools / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            for name in asked.names:
                provide(name, tools, ignore_system=asked.ignore_system)
        except AptFailed as failure:
            print(f"Could not get {' and '.join(asked.names)}: {failure}", file=sys.stderr)
            return 1
    return 0


def provide(name: str, tools: Path, *, ignore_system: bool) -> None:
    """Make `tools/bin/NAME` start: a link to the system's program, or a wrapper around an unpacked one."""
    target, unpacked = tools / "bin" / name, tools / "debian" / name
    found = None if ignore_system else find_on_path(name, tools)
    if found is None and unpacked.is_dir() and starts(target):
        return
    if found is None:
        print(f"Unpacking {name} from Debian into {os.path.relpath(unpacked)}", flush=True)
        program = PROGRAMS[name]
        Apt(tools / "apt").unpack(list(program.packages), unpacked, only=program.alone)
        write_wrapper(name, target, unpacked)
    elif not (target.is_symlink() and target.readlink() == found):
        target.unlink(missing_ok=True)
        target.symlink_to(found)
    if not starts(target):
        raise AptFailed(f"{name} is there but does not start; try: {os.path.relpath(target)} --version")


def find_on_path(name: str, tools: Path) -> Path | None:
    """The system's program of that name, leaving out our own folder."""
    folders = [f for f in os.get_exec_path() if Path(f).resolve() != tools / "bin"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return Path(found) if found else None


def write_wrapper(name: str, target: Path, tree: Path) -> None:
    libraries = ":".join(f"$tree/{folder.relative_to(tree)}" for folder in library_folders(tree))
    (tree / "fonts.conf").write_text(FONTS)
    target.unlink(missing_ok=True)
    target.write_text(WRAPPER.format(name=name, path=PROGRAMS[name].path, libraries=libraries))
    target.chmod(0o755)


def library_folders(tree: Path) -> list[Path]:
    """Where the tree keeps shared libraries: the multiarch folders and, in them, PulseAudio's own."""
    patterns = ("usr/lib/*-linux-gnu*", "lib/*-linux-gnu*", "usr/lib/*-linux-gnu*/pulseaudio")
    return [folder for pattern in patterns for folder in sorted(tree.glob(pattern)) if folder.is_dir()]


def starts(program: Path) -> bool:
    """Whether the program runs at all: it has to be able to say its version, or its help."""
    known = PROGRAMS[program.name]
    try:
        done = subprocess.run([program, known.question], capture_output=True, timeout=60, check=False)
    except OSError:
        return False
    return done.returncode == known.answer


if __name__ == "__main__":
    sys.exit(main())
