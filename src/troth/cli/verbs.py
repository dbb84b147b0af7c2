"""Every verb: reads its options and calls what does the work, which is imported only then."""

from pathlib import Path
from typing import Annotated

import typer

from troth.cli import (
    access,
    alerts,
    backup,
    certificates,
    client,
    domain,
    firewall,
    importing,
    keys,
    member,
    receipts,
    replicas,
    role,
    tenant,
    user,
)
from troth.cli.options import STATE as _STATE
from troth.cli.options import Json, NetworkChoice, StateFolder, find_config, hours_up_to

app = typer.Typer(
    name="troth",
    help="Runs web services under the security standards a company promises, and proves every promise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file. Left out: troth.toml in this folder, else the example of a checkout.",
    ),
]
HttpsPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="The public HTTPS port. Left out: as configured, else 443 or 8443."),
]
HttpPort = Annotated[
    int | None,
    typer.Option(
        min=1, max=65_535, help="The public port that redirects. Left out: as configured, else 80 or 8080."
    ),
]

_NOUNS = {
    "replicas": replicas.replicas,
    "tenant": tenant.tenants,
    "domain": domain.domains,
    "user": user.users,
    "import": importing.imports,
    "role": role.roles,
    "client": client.clients,
    "keys": keys.keys,
    "backup": backup.backup,
    "certificates": certificates.certificates,
    "firewall": firewall.firewall,
    "access": access.access,
    "receipts": receipts.receipts,
    "alerts": alerts.alerts,
}

app.add_typer(member.members, name="member")

for _noun, _verbs in _NOUNS.items():
    app.add_typer(_verbs, name=_noun, rich_help_panel="Administration")


@app.command()
def up(
    config: Config = None,
    state: StateFolder = _STATE,
    members: Annotated[
        int | None,
        typer.Option(min=1, max=5, help="Database members: 1 for a small machine, 3 or 5 for a replica set."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once everything is up, and leave it running.")
    ] = False,
    https_port: HttpsPort = None,
    http_port: HttpPort = None,
    network: Annotated[
        NetworkChoice | None,
        typer.Option("--network", help="Where the private side stands. Left out: as configured."),
    ] = None,
) -> None:
    """Start the platform and stay with it until Ctrl-C."""
    from troth.cli.up import bring_up
    from troth.hosting.plan import Launch

    launch = Launch(
        config=find_config(config),
        state=state.absolute(),
        members=members,
        https_port=https_port,
        http_port=http_port,
        network=network,
    )
    raise typer.Exit(bring_up(launch, detach=detach))


@app.command()
def down(state: StateFolder = _STATE) -> None:
    """Stop the platform and wait until every process has ended."""
    from troth.cli.down import take_down

    raise typer.Exit(take_down(state))


@app.command()
def status(state: StateFolder = _STATE, json: Json = False) -> None:
    """Show members, instances, edge and certificates. Exit status 0 only while everything is up and ready."""
    from troth.cli.status import show_status

    raise typer.Exit(show_status(state, json=json))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A log, or the first letters of several. Left out: all.")] = "",
    state: StateFolder = _STATE,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Stay, and show new lines as they are written.")
    ] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", min=1, max=100_000, help="How many last lines of each.")
    ] = 20,
    request: Annotated[
        str, typer.Option("--request", help="Only the lines of the request with this number, all of them.")
    ] = "",
) -> None:
    """Show what the platform's processes wrote."""
    from troth.cli.logs import show_logs

    raise typer.Exit(show_logs(state, name, follow=follow, lines=lines, request=request))


@app.command()
def metrics(state: StateFolder = _STATE) -> None:
    """Print every number that is measured, in Prometheus' text format."""
    from troth.cli.metrics import show_metrics

    raise typer.Exit(show_metrics(state))


@app.command()
def history(
    metric: Annotated[str, typer.Argument(help="The metric, such as troth_member_lag_bytes.")],
    hours: Annotated[
        float,
        typer.Option("--hours", parser=hours_up_to(336), metavar="NUMBER", help="How far back; at most 336."),
    ] = 1.0,
    state: StateFolder = _STATE,
    json: Json = False,
) -> None:
    """Show how a metric went: every ten seconds of an hour, each minute of a day, ten minutes of 14 days."""
    from troth.cli.history import show_history

    raise typer.Exit(show_history(state, metric, hours=hours, json=json))


@app.command()
def plan(config: Config = None, state: StateFolder = _STATE) -> None:
    """Check the configuration without starting anything: what would run, and which promise would break."""
    from troth.cli.plan import show_plan

    raise typer.Exit(show_plan(find_config(config), state))


@app.command()
def factsheet(state: StateFolder = _STATE, json: Json = False) -> None:
    """Probe every promise on the running platform; show what was seen. Exit status 1 if one is broken."""
    from troth.cli.factsheet import show_factsheet

    raise typer.Exit(show_factsheet(state, json=json))


@app.command()
def drill(
    promise: Annotated[
        str, typer.Argument(help="The promise to break, such as access.sessions. Left out: all that can be.")
    ] = "",
    state: StateFolder = _STATE,
    json: Json = False,
) -> None:
    """Break a promise on purpose, see its probe turn red, and mend it. Exit status 1 if a probe stayed green.

    Only what was made for probing is touched: nobody's data, sessions or tokens.
    """
    from troth.cli.drill import run_drills

    raise typer.Exit(run_drills(state, promise, json=json))


@app.command()
def scale(
    service: Annotated[str, typer.Argument(help="The service: web, or an application.")],
    number: Annotated[str, typer.Argument(help="How many instances, or auto to let them follow the load.")],
    state: StateFolder = _STATE,
    json: Json = False,
) -> None:
    """Set how many instances a service has, up to its `max_instances`; it is kept over restarts."""
    from troth.cli.scaling import set_number

    set_number(state, service, number, json=json)


@app.command()
def deploy(
    name: Annotated[str, typer.Argument(metavar="APP", help="The application, as troth.toml names it.")],
    folder: Annotated[
        Path | None, typer.Argument(help="The folder of the new release. Left out: the one in troth.toml.")
    ] = None,
    target: Annotated[str, typer.Option(help="Its callable, module:name. Left out: as in troth.toml.")] = "",
    probation: Annotated[
        float | None,
        typer.Option(min=0, max=600, help="Seconds in which its errors take it back. Left out: 20."),
    ] = None,
    state: StateFolder = _STATE,
    json: Json = False,
) -> None:
    """Let a new release of an application take over without losing a request; it goes back if it errs.

    Exit status 1 when it did not come to serve, or went back.
    """
    from troth.cli.deploying import follow_deployment

    chosen = str(folder.resolve()) if folder else ""
    asked = {"app": name, "folder": chosen, "target": target, "probation": probation}
    raise typer.Exit(follow_deployment(state, "deploy", json=json, **asked))


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="APP", help="The application, as troth.toml names it.")],
    state: StateFolder = _STATE,
    json: Json = False,
) -> None:
    """Go back to the release of an application before this one: at once while that still rests."""
    from troth.cli.deploying import follow_deployment

    raise typer.Exit(follow_deployment(state, "rollback", json=json, app=name))


@app.command(name="reload")
def reload(
    state: StateFolder = _STATE,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Check and show what would change, and how; change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Bring a changed troth.toml into force without losing a request; at a failure it goes back by itself.

    Exit status 2 when the file is faulty or some change needs a restart, 1 when it went back.
    """
    from troth.cli.reloading import reload_configuration

    raise typer.Exit(reload_configuration(state, dry=dry, json=json))


@app.command()
def version() -> None:
    """Print the version."""
    from troth import VERSION

    typer.echo(VERSION)
