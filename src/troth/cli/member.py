"""`troth member`: one database member on this host, as one of several."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.options import STATE, StateFolder, group

if TYPE_CHECKING:
    from troth.data.hosts import Host

members = group("Several hosts: enrol a host, and run the database member that stands on it.")

Hosts = Annotated[Path, typer.Option("--hosts", help="The file that describes all hosts of the set.")]
Out = Annotated[Path, typer.Option("--out", help="Where to write the bundle; it holds private keys.")]
Into = Annotated[
    Path | None,
    typer.Option(
        "--into", help="A folder for a platform's certificates. Left out: this host's state folder."
    ),
]


@members.command()
def enrol(
    name: Annotated[str, typer.Argument(help="A host of the set, or “platform” for what connects to it.")],
    out: Out,
    hosts: Hosts = Path("hosts.toml"),
    state: StateFolder = STATE,
) -> None:
    """Make a bundle with the certificates of one host. Run it where the authorities are, and nowhere else.

    Enrol a host again to renew its certificates: it takes them up without a restart.
    """
    from troth.cli.screen import out as screen
    from troth.core.clock import SystemClock
    from troth.core.state import open_state
    from troth.data.enrolment import enrol_host, enrol_platform, write_bundle
    from troth.data.hosts import PLATFORM, read_hosts

    found, now = read_hosts(hosts), SystemClock().now()
    authorities = open_state(state).authorities
    is_platform = name == PLATFORM
    bundle = (
        enrol_platform(authorities, found, now) if is_platform else enrol_host(authorities, found, name, now)
    )
    write_bundle(bundle, out)
    screen.print(f"{out} holds the private keys of {name}: carry it over safely, then remove it.")
    where = " --into FOLDER" if is_platform else ""
    screen.print(f"There: troth member import {out.name}{where}", soft_wrap=True)


@members.command("import")
def import_(
    bundle: Annotated[Path, typer.Argument(help="The bundle of this host.")],
    into: Into = None,
    state: StateFolder = STATE,
) -> None:
    """Take a bundle in. A member that runs here uses its certificates within seconds."""
    from troth.cli.screen import out as screen
    from troth.core.state import open_state
    from troth.data.enrolment import read_bundle, take_in
    from troth.data.hosts import PLATFORM

    read = read_bundle(bundle)
    is_platform = read.name == PLATFORM
    if is_platform != (into is not None):
        said = "is for a platform: name a folder" if is_platform else "is for a host: leave it out"
        raise typer.BadParameter(f"This bundle {said}.", param_hint="--into")
    take_in(read, into if into is not None else open_state(state).membership)
    screen.print(f"Enrolled as {read.name}, one of {len(read.set.hosts)} hosts. Now remove {bundle}.")
    if into is not None:
        screen.print(f"In troth.toml:\n\n{_described(read.set.hosts, into)}", soft_wrap=True, markup=False)


def _described(hosts: "tuple[Host, ...]", into: Path) -> str:
    """The table of troth.toml for these hosts."""
    addresses = ", ".join(f'"{host.at(host.postgres)}"' for host in hosts)
    regions = ", ".join(f'"{host.region}"' for host in hosts)
    return f'[database]\nhosts = [{addresses}]\nregions = [{regions}]\ncertificates = "{into}"'


@members.command()
def roles() -> None:
    """Print the SQL that prepares a PostgreSQL which others run. Its superuser gives it to psql."""
    from troth.data.roles import preparation

    typer.echo(preparation())


@members.command()
def up(
    state: StateFolder = STATE,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once the set takes writes, and leave it running.")
    ] = False,
) -> None:
    """Start this host's member and stay with it until Ctrl-C. See also: troth status, logs, down."""
    from troth.cli.up import bring_up
    from troth.core.state import State
    from troth.data.enrolment import read_membership, set_file
    from troth.hosting.plan import Launch

    membership = State(state.absolute()).membership
    read_membership(membership)
    launch = Launch(config=set_file(membership), state=state.absolute(), member=True)
    raise typer.Exit(bring_up(launch, detach=detach))
