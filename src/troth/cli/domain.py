"""`troth domain`: the domains of customers, while the platform runs."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, Tenant, group

domains = group("Domains: where a customer's people sign in and work.")

Name = Annotated[str, typer.Argument(help="The host name, such as portal.company.example.")]
After = Annotated[str, typer.Option("--after", help="Show what follows this name; 200 at a time.")]


@domains.command("list")
def list_(tenant: Tenant = "", after: After = "", state: StateFolder = STATE, json: Json = False) -> None:
    """Show the domains of one customer, or of all."""
    from troth.cli.administration import ask_platform, say_more, show, table

    def people(answer: dict[str, object]) -> Any:
        cells = [
            (one["name"], one["tenant"], one["app"], _state(one), "troth.toml" if one["declared"] else "")
            for one in rows
        ]
        return table(("Domain", "Customer", "Application", "State", ""), cells, empty="There are no domains.")

    answer = ask_platform(state, "domain.list", tenant=tenant, after=after)
    rows = cast("list[dict[str, Any]]", answer["domains"])
    show(answer, json=json, people=people)
    if rows:
        whose = f" --tenant {tenant}" if tenant else ""
        say_more(len(rows), f"troth domain list{whose} --after {rows[-1]['name']}")


@domains.command()
def add(
    name: Name,
    tenant: Tenant,
    app: Annotated[str, typer.Option("--app", help="The application; left out: the only one.")] = "",
    brand: Annotated[str, typer.Option("--brand", help="Its name on pages; left out: the customer's.")] = "",
    colour: Annotated[str, typer.Option("--colour", help="#rrggbb, dark enough for white text.")] = "",
    logo: Annotated[Path | None, typer.Option("--logo", help="An SVG or PNG file.")] = None,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Add a domain. A local name serves within a second; any other once its owner is proved by DNS."""
    from troth.cli.administration import ask_platform, show

    asked: dict[str, object] = {"name": name, "tenant": tenant, "app": app, "brand": brand}
    if colour:
        asked["colour"] = colour
    if logo is not None:
        asked["logo"] = _read_logo(logo)
    show(ask_platform(state, "domain.add", **asked), json=json, people=_tell)


@domains.command()
def check(name: Name, state: StateFolder = STATE, json: Json = False) -> None:
    """Ask the name servers whether the owner published the record; from then on the domain serves."""
    from troth.cli.administration import ask_platform, show

    show(ask_platform(state, "domain.check", name=name), json=json, people=_tell)


@domains.command()
def remove(name: Name, state: StateFolder = STATE, json: Json = False) -> None:
    """Take a domain out of service: within a second it serves no more, and its sessions are over."""
    from troth.cli.administration import ask_platform, show

    def people(answer: dict[str, Any]) -> str:
        return f"{name} serves no more; {answer['sessions_ended']} sessions ended."

    show(ask_platform(state, "domain.remove", name=name), json=json, people=people)


def _state(one: dict[str, Any]) -> str:
    return f"{one['state']}, its record is gone" if one["proof_gone"] else one["state"]


def _tell(answer: dict[str, Any]) -> str:
    if answer["state"] == "active":
        return f"{answer['name']} serves, for {answer['tenant']}."
    return (
        f"{answer['name']} waits for its owner. Have this record published:\n\n  {answer['record']}\n\n"
        f"and an A, AAAA or CNAME record that leads here. Then: troth domain check {answer['name']}"
    )


def _read_logo(file: Path) -> dict[str, str]:
    import base64

    from troth.core.branding import read_logo
    from troth.core.errors import UsageError

    try:
        content = read_logo(file)
        kind = "image/png" if file.suffix.lower() == ".png" else "image/svg+xml"
        return {"type": kind, "data": base64.b64encode(content).decode()}
    except ValueError as error:
        raise UsageError(f"The logo cannot be used: {error}") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None
