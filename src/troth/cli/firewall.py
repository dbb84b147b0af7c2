"""`troth firewall`: this machine's packet filter, applied on trial and kept once confirmed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from troth.cli.options import STATE, Json, StateFolder, group

if TYPE_CHECKING:
    from troth.core.state import State
    from troth.hosting.firewall.changing import Standing
    from troth.hosting.firewall.rules import Opened, Policy

firewall = group("This machine's packet filter: shown, applied on trial, confirmed, taken back. As root.")

Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration file. Left out: as for troth up."),
]


@firewall.command()
def plan(
    config: Config = None,
    state: StateFolder = STATE,
    rules: Annotated[
        bool, typer.Option("--nft", help="Print the rules themselves, as nft reads them.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what would pass, and change nothing. Needs no root."""
    from rich.console import Group
    from rich.text import Text

    from troth.cli.administration import show, table
    from troth.cli.screen import out
    from troth.core.state import State
    from troth.hosting.firewall.rules import render

    policy, opened, unanswered = _policy(config, State(state.resolve()))
    text = render(policy, opened)
    if rules:
        out.print(text, markup=False, soft_wrap=True, end="")
        return

    def people(_: dict[str, object]) -> Any:
        rows = list(_rows(policy, opened))
        told = table(("Direction", "What", "With whom"), rows, empty="")
        warnings = [Text.assemble(("! ", "yellow"), one) for one in _warnings(policy, unanswered)]
        return Group(told, Text("Everything else is dropped.", "dim"), *warnings)

    answer: dict[str, object] = {
        "tcp": list(policy.tcp),
        "udp": list(policy.udp),
        "connections": policy.connections,
        "ssh": {"port": policy.ssh_port, "networks": list(policy.administrators)},
        "out": [{"host": one.host, "port": one.port, "why": one.why} for one in policy.reached],
        "name_servers": [str(one) for one in policy.name_servers],
        "time_servers": list(policy.time_servers),
        "unanswered": list(unanswered),
        "rules": text,
    }
    show(answer, json=json, people=people)


@firewall.command()
def apply(config: Config = None, state: StateFolder = STATE, json: Json = False) -> None:
    """Put the rules in force on trial: unless confirmed within a minute they are taken back by themselves."""
    from troth.cli.administration import show
    from troth.cli.screen import err
    from troth.core.state import open_state
    from troth.hosting.firewall import changing, lockout
    from troth.hosting.firewall.nft import Nft

    _as_root("apply")
    folder = open_state(state)
    policy, opened, unanswered = _policy(config, folder)
    lockout.check_way_in(policy)
    trial = changing.apply(policy, opened, Nft.find(), folder)
    if not json:
        for one in _warnings(policy, unanswered):
            err.print(f"! {one}", markup=False, soft_wrap=True)
    show(
        {"applied": True, "seconds": trial.seconds},
        json=json,
        people=lambda _: (
            f"In force, on trial for {trial.seconds} seconds. Open a new connection to this machine, "
            "and from there: troth firewall confirm"
        ),
    )


@firewall.command()
def confirm(state: StateFolder = STATE, json: Json = False) -> None:
    """Keep the rules on trial. From then on the keeper, where it runs as root, looks after them."""
    from troth.cli.administration import show
    from troth.core.clock import SystemClock
    from troth.core.state import open_state
    from troth.hosting.firewall import changing, lockout
    from troth.hosting.firewall.nft import Nft
    from troth.wiring.firewall import resolve

    _as_root("confirm")
    folder = open_state(state)
    trial = changing.read_record(folder).trial
    if trial is not None:
        lockout.check_way_in(trial)
    changing.confirm(resolve, Nft.find(), folder, SystemClock().now())
    show({"confirmed": True}, json=json, people=lambda _: "The rules stay. See: troth firewall status")


@firewall.command()
def revert(state: StateFolder = STATE, json: Json = False) -> None:
    """Take back the rules on trial; without any, take away all rules of Troth's."""
    from troth.cli.administration import show
    from troth.core.state import open_state
    from troth.hosting.firewall import changing
    from troth.hosting.firewall.nft import Nft

    _as_root("revert")
    what = changing.revert(Nft.find(), open_state(state))
    said = {
        "trial": "The rules on trial are taken back; what was in force before is again.",
        "all": "No rules of Troth's are in force any more.",
    }
    show({"reverted": what}, json=json, people=lambda _: said[what])


@firewall.command()
def status(state: StateFolder = STATE, json: Json = False) -> None:
    """Show how the rules stand. Exit status 0 only while they are in force as confirmed."""
    import time

    from troth.cli.administration import show
    from troth.core.state import State
    from troth.hosting.firewall.nft import Nft
    from troth.wiring.firewall import look

    _as_root("status")
    standing = look(Nft.find(), State(state.resolve()), time.time())
    answer: dict[str, object] = {
        "condition": standing.condition,
        "good": standing.good,
        "left": standing.left,
        "confirmed": standing.confirmed.isoformat() if standing.confirmed else None,
        "bypasses": [{"rule": str(one), "stopped": one.stopped} for one in standing.bypasses],
        "counts": standing.counts,
    }
    show(answer, json=json, people=lambda _: _describe(standing))
    raise typer.Exit(0 if standing.good else 1)


def _policy(config: Path | None, state: "State") -> tuple["Policy", "Opened", tuple[str, ...]]:
    """What troth.toml asks for, what its names lead to, and the names without an answer."""
    import asyncio

    from troth.cli.options import find_config
    from troth.core.config import load_settings
    from troth.wiring.firewall import Names, policy_of, present_ports

    settings = load_settings(find_config(config))
    names = Names(policy_of(settings, present_ports(settings, state)))
    opened = asyncio.run(names.opened())
    return names.policy, opened, names.unanswered()


def _rows(policy: "Policy", opened: "Opened") -> Any:
    most = f", {policy.connections} connections of each address" if policy.connections else ""
    yield "in", f"tcp {', '.join(map(str, policy.tcp))}{most}", "everybody"
    yield "in", f"udp {', '.join(map(str, policy.udp))} (HTTP/3)", "everybody"
    if policy.administrators:
        yield "in", f"tcp {policy.ssh_port} (SSH)", ", ".join(policy.administrators)
    yield "in", "ICMP echo, neighbours, DHCP", "everybody"
    for one in policy.reached:
        yield "out", f"tcp {one.port} ({one.why})", one.host
    for server in policy.name_servers:
        yield "out", f"udp and tcp {server.port} (names)", server.host
    for host in policy.time_servers:
        yield "out", "udp 123 (time)", host


def _warnings(policy: "Policy", unanswered: tuple[str, ...]) -> list[str]:
    found = [f"{name} leads nowhere now; nothing is opened for it until it does." for name in unanswered]
    if not policy.administrators:
        found.append("SSH is closed to everybody: firewall.administrators is empty.")
    return found


def _describe(standing: "Standing") -> Any:
    from rich.console import Group
    from rich.text import Text

    said = {
        "absent": "No rules of Troth's are in force.",
        "on trial": f"Rules are on trial for {standing.left} seconds more: troth firewall confirm",
        "in force": "The confirmed rules are in force.",
        "different": "The rules in force are NOT those that were confirmed.",
        "missing": "The confirmed rules are NOT in force.",
        "unknown": "Rules are in force that were not confirmed with this state folder.",
    }
    mark = ("✓ ", "green") if standing.good else ("✗ ", "red")
    lines = [Text.assemble(mark, said[standing.condition])]
    for one in standing.bypasses:
        what = "; what it redirects is dropped" if one.stopped else ", past every rule of ours"
        lines.append(Text.assemble(("! ", "yellow"), f"There is {one}{what}."))
    for name, count in standing.counts.items():
        lines.append(Text(f"{count:,} packets {name}", "dim"))
    return Group(*lines)


def _as_root(verb: str) -> None:
    import os

    from troth.core.errors import PlatformError

    if os.geteuid() != 0:
        raise PlatformError(
            "The packet filter belongs to root.",
            hint=f"sudo troth firewall {verb} --state FOLDER, with a folder of root's",
        )
