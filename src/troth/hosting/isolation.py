"""How the platform's processes are contained: chosen purely from what a probe of this machine saw.

Contained, the first process of the platform is PID 1 of a PID namespace of its own, and the kernel ends every
other process in it when that one ends, whatever sessions or double forks they hid behind. Where the machine
forbids such namespaces, the first process becomes the reaper of its descendants and ends them itself.
"""

import os
import subprocess
from typing import Literal

import msgspec

from troth.core.errors import ConfigError

OTHER_USER = 65534
"""`nobody`: the number that PostgreSQL sees as its own when the platform runs as root."""

_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
_OWN_USER = ("--user", "--map-current-user")
_OTHER_USER = ("unshare", "--user", f"--map-user={OTHER_USER}", f"--map-group={OTHER_USER}", "--")


class Machine(msgspec.Struct, frozen=True):
    """What this machine allows the present user: see `probe`."""

    root: bool
    pid_namespace: bool
    user_namespace: bool
    bounding: bool = False
    """As root: whether processes can be left without the capabilities that they do not need."""


def probe() -> Machine:
    """Try each kind of containment on a process that does nothing; a few milliseconds each."""
    return inside(_works((*_namespace(os.geteuid() == 0), "true")))


def inside(contained: bool) -> Machine:
    """The same, for a process that knows whether it is contained already."""
    root = os.geteuid() == 0
    return Machine(
        root=root,
        pid_namespace=contained,
        user_namespace=root and _works((*_OTHER_USER, "true")),
        bounding=root and _works(("setpriv", *_bounded(()), "--", "true")),
    )


def contain(machine: Machine, argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command that runs `argv` as the first process of the platform."""
    if not machine.pid_namespace:
        return argv
    return (*_namespace(machine.root), "--", *argv)


def guard(argv: tuple[str, ...], number: Literal["KILL", "TERM"] = "KILL") -> tuple[str, ...]:
    """`argv`, signalled by the kernel when its parent ends, and never gaining privileges (setuid)."""
    return ("setpriv", "--pdeathsig", number, "--no-new-privs", "--", *argv)


def bounded(machine: Machine, capabilities: tuple[str, ...], argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv`, guarded, and as root with these capabilities at most (capabilities(7)). What the platform reads
    may lie in a person's folder, so reading is always among them."""
    guarded = guard(argv)
    if not machine.bounding:
        return guarded
    return (guarded[0], *_bounded(capabilities), *guarded[1:])


def as_other_user(machine: Machine, argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv` under a user id other than 0. Raises ConfigError as root where user namespaces are forbidden."""
    if not machine.root:
        return argv
    if not machine.user_namespace:
        raise ConfigError(
            "PostgreSQL refuses to run as root, and this machine forbids user namespaces.",
            hint="Run troth as a normal user, or allow them: sysctl user.max_user_namespaces=10000",
        )
    return (*_OTHER_USER, *argv)


def _bounded(capabilities: tuple[str, ...]) -> tuple[str, ...]:
    kept = ",".join(("-all", *(f"+{name}" for name in ("dac_read_search", *capabilities))))
    return (f"--bounding-set={kept}", "--inh-caps=-all")


def _namespace(root: bool) -> tuple[str, ...]:
    return _NAMESPACE if root else (*_NAMESPACE, *_OWN_USER)


def _works(argv: tuple[str, ...]) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
