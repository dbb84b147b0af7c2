"""`troth plan`: all that can be known before anything starts."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from troth.cli.screen import out
from troth.core.config import Settings, load_settings
from troth.core.state import State


def show_plan(config: Path, folder: Path) -> int:
    """Returns the exit status; raises ConfigError for what would be refused, naming the promise at stake."""
    from troth.wiring.reading import check

    settings = load_settings(config)
    state = State(folder.resolve())
    check(settings, state if state.root.is_dir() else None)
    out.print(_table(config, settings))
    for warning in _warnings(settings):
        out.print(Text.assemble(("! ", "yellow"), warning), soft_wrap=True)
    out.print(Text.assemble(("✓ ", "green"), "Nothing here would be refused."))
    return 0


def _table(config: Path, settings: Settings) -> Table:
    from troth.data.places import find_places

    table = Table(
        title=settings.platform.name, title_justify="left", title_style="bold", box=None, show_header=False
    )
    table.add_row(Text("Configuration", "dim"), str(config))
    for number, place in enumerate(find_places(settings)):
        table.add_row(Text("" if number else "Places for data", "dim"), str(place))
    hosts = settings.database.hosts
    where = f"elsewhere: {', '.join(hosts)}" if hosts else f"{settings.database.members} members"
    table.add_row(Text("Database", "dim"), where)
    table.add_row(Text("Web service", "dim"), f"{settings.web.instances} to {settings.web.most} instances")
    for name, app in settings.apps.items():
        table.add_row(Text(f"App {name}", "dim"), f"{app.instances} to {app.most} instances of {app.target}")
    for domain in settings.domains:
        table.add_row(Text(domain.name, "dim"), f"{domain.app}, for {domain.tenant}")
    table.add_row(Text("Collections", "dim"), ", ".join(settings.collections))
    return table


def _warnings(settings: Settings) -> list[str]:
    """Promises that would stand as broken, though nothing here is refused: a small start is allowed."""
    found: list[str] = []
    if settings.database.hosts and len(settings.database.hosts) < 3:
        found.append(f"data.replicas will stand as broken: {len(settings.database.hosts)} of 3 members.")
    elif not settings.database.hosts and settings.database.members < 3:
        found.append(f"data.replicas will stand as broken: {settings.database.members} of 3 members.")
    single = ["the web service"] if settings.web.instances < 2 else []
    single += [name for name, app in settings.apps.items() if app.instances < 2]
    if single:
        found.append(f"hosting.balancing will stand as broken: one instance of {', '.join(single)}.")
    return found
