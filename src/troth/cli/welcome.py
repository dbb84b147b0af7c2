"""What `troth up` says once everything stands."""

import shlex
from pathlib import Path
from typing import cast

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from troth.cli.screen import out
from troth.core.state import State
from troth.hosting.control import Answer
from troth.hosting.plan import SignIn, Summary


def say_welcome(summary: Summary, seconds: float, state: State, *, detached: bool) -> None:
    """Addresses, sign-ins, the authority to trust, and what to do next."""
    out.print()
    title = f"[bold]{summary.platform}[/bold] is up after {seconds:.1f} s"
    if summary.addresses:
        panel = Panel(
            _addresses(summary), title=title, title_align="left", border_style="green", expand=False
        )
        out.print(panel)
    else:
        out.print(f"{title}.")
    if summary.signins:
        _say_signins(summary.signins)
    if summary.ca is not None:
        _say_trust(summary.ca, summary.addresses[0].url if summary.addresses else "https://localhost")
    for note in summary.notes:
        out.print(Text.assemble(("! ", "yellow"), note), soft_wrap=True)
    _say_next(state, serves=bool(summary.addresses), detached=detached)


def say_running(answer: Answer) -> int:
    """For `troth up` on a state folder on which a platform runs; returns the exit status."""
    name = answer.get("platform") or "The platform"
    condition = {"ready": "runs", "starting": "is starting", "troubled": "runs, with troubles"}
    out.print(f"{name} {condition.get(str(answer.get('condition')), 'runs')} already.")
    for address in cast("list[dict[str, str]]", answer.get("addresses") or []):
        out.print(f"  {address['title']}  {address['url']}", soft_wrap=True)
    out.print("See: troth status")
    return 0


def _addresses(summary: Summary) -> Table:
    table = _grid()
    for address in summary.addresses:
        table.add_row(Text(address.title), Text(address.url, style="cyan"))
    return table


def _say_signins(signins: tuple[SignIn, ...]) -> None:
    """Plain lines and no table: a password that a narrow terminal cut short would be of no use."""
    out.print(Text("\nDemonstration sign-ins", "bold"))
    widths = max(len(one.email) for one in signins), max(len(one.password) for one in signins)
    for url in dict.fromkeys(one.url for one in signins):
        out.print(Text(f"  {url}", "cyan"), soft_wrap=True)
        for one in (each for each in signins if each.url == url):
            line = f"    {one.email:<{widths[0]}}  {one.password:<{widths[1]}}  "
            out.print(Text.assemble(line, (one.name, "dim")), soft_wrap=True)


def _say_trust(ca: Path, url: str) -> None:
    file = shlex.quote(str(ca))
    ways = (
        ("curl", f"curl --cacert {file} {url}/health"),
        ("Chromium on Linux", f"certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n Troth -i {file}"),
        ("Firefox", f"Settings, Certificates, Authorities, Import: {ca}"),
        (
            "Debian",
            f"sudo cp {file} /usr/local/share/ca-certificates/troth.crt && sudo update-ca-certificates",
        ),
        (
            "macOS",
            "sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain " + file,
        ),
    )
    out.print(Text.assemble(("\nThe authority to trust: ", "bold"), str(ca)), soft_wrap=True)
    for name, command in ways:
        out.print(Text.assemble((f"  {name:<18} ", "dim"), command), soft_wrap=True)


def _say_next(state: State, *, serves: bool, detached: bool) -> None:
    folder = "" if state.root == Path(".state").resolve() else f" --state {shlex.quote(str(state.root))}"
    width = len(f"troth factsheet{folder}") + 2
    out.print(Text("\nNext", "bold"))
    for verb, what in (
        ("status", "members, instances, edge, certificates"),
        *((("factsheet", "the 24 promises, probed now"),) if serves else ()),
        ("logs -f", "what the processes write"),
        ("down", "stop everything"),
    ):
        out.print(Text.assemble(f"  {f'troth {verb}{folder}':<{width}}", (what, "dim")), soft_wrap=True)
    out.print(Text("\nIt goes on in the background." if detached else "\nCtrl-C stops everything.", "dim"))


def _grid() -> Table:
    return Table.grid(padding=(0, 3))
