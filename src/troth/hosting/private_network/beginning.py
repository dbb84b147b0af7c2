"""Before the first process: whether there is to be a private network, and how that process enters it."""

import sys
from pathlib import Path

import msgspec

from troth.core.state import State
from troth.hosting import isolation
from troth.hosting.plan import Launch
from troth.hosting.private_network import crossing, entering
from troth.hosting.private_network.possible import obstacle, read_wish, refuse


def decide(launch: Launch, machine: isolation.Machine) -> Launch:
    """The launch with the answer in it. Raises ConfigError when one is insisted on and cannot be made."""
    if launch.member:
        return msgspec.structs.replace(launch, not_apart="a member of several hosts is reached by the others")
    wish = read_wish(launch.config, launch.network)
    if wish == "loopback":
        return msgspec.structs.replace(launch, not_apart="troth.toml or --network says loopback")
    why = obstacle(machine)
    if why and wish == "namespace":
        raise refuse(why)
    return msgspec.structs.replace(launch, apart=not why, not_apart=why)


def enter(launch: Launch, first: tuple[str, ...]) -> tuple[str, ...]:
    """The command that runs `first` on the private side, if there is to be one."""
    if not launch.apart:
        return first
    folder = crossing.folder(State(launch.state))
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in (crossing.PUBLIC, crossing.EDGE, crossing.PRIVATE):
        (folder / name).touch(mode=0o600)
    return (sys.executable, "-I", "-S", str(Path(entering.__file__)), str(folder), *first)
