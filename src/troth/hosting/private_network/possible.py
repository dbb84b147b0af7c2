"""Whether a private network is wanted, and whether this machine allows one."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any, Literal, cast

from troth.core.errors import ConfigError
from troth.core.process import Endpoint
from troth.hosting import isolation
from troth.hosting.firewall.nft import find_program
from troth.hosting.private_network.rules import NameServer, Side, render

Wish = Literal["auto", "namespace", "loopback"]

_TRIAL_SECONDS = 20.0
_TOLD = 200

_TRIAL = Side(
    interface="edge",
    own="192.0.2.246",
    other="192.0.2.245",
    offered=(20_001,),
    asked=(20_002,),
    relay=20_003,
    reached=(("192.0.2.1", 443), ("2001:db8::1", 443)),
    names=(NameServer(Endpoint("127.0.0.53", 53), 20_004),),
)


def read_wish(config: Path, override: Wish | None) -> Wish:
    """What the command line says, else troth.toml. A file that cannot be read wishes for nothing here: the
    platform refuses it before anything else starts, and says why."""
    if override is not None:
        return override
    try:
        document: dict[str, Any] = tomllib.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return "loopback"
    match document.get("network", {}):
        case {"private": "namespace" | "loopback" as said}:
            return cast("Wish", said)
        case _:
            return "auto"


def obstacle(machine: isolation.Machine) -> str:
    """Why no private network can be made here, as a sentence without a full stop; empty when one can."""
    if not machine.root:
        return "the platform does not run as root"
    if not machine.pid_namespace:
        return "this machine allows no PID namespace, which a private network is tied to"
    try:
        programs = [str(find_program(*one)) for one in _PROGRAMS]
    except ConfigError as error:
        return error.public.partition(";")[0].rstrip(".")
    return _try(*programs)


def refuse(why: str) -> ConfigError:
    """For whoever insists."""
    return ConfigError(
        f"A private network cannot be made: {why}.",
        key="network.private",
        promise="hosting.network",
        hint='Leave the key out, or write private = "loopback"; hosting.network is then not proved.',
    )


_PROGRAMS = (
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
)


def _try(unshare: str, nsenter: str, ip: str, nft: str) -> str:
    """A cable and the rules in a network that lives as long as this question."""
    script = f'"{ip}" link add edge type veth peer name private && exec "{nft}" -f -'
    argv = (unshare, "--net", "--", "sh", "-c", script)
    try:
        done = subprocess.run(
            argv, input=render(_TRIAL).encode(), capture_output=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"a network namespace could not be tried: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"this machine refused: {(said[0] if said else 'no reason was given')[:_TOLD]}"
