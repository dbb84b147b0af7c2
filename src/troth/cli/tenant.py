"""`troth tenant`: customers, while the platform runs."""

from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, group

tenants = group("Customers: each has its own people, domains, policy and keys.")

Slug = Annotated[str, typer.Argument(help="The customer's short name.")]
After = Annotated[str, typer.Option("--after", help="Show what follows this name; 200 at a time.")]


@tenants.command("list")
def list_(after: After = "", state: StateFolder = STATE, json: Json = False) -> None:
    """Show every customer."""
    from troth.cli.administration import ask_platform, say_more, show, table

    def people(answer: dict[str, object]) -> Any:
        cells = [(one["slug"], one["name"], one["domains"], _state(one)) for one in rows]
        return table(("Customer", "Name", "Domains", ""), cells, empty="There are no customers.")

    answer = ask_platform(state, "tenant.list", after=after)
    rows = cast("list[dict[str, Any]]", answer["tenants"])
    show(answer, json=json, people=people)
    if rows:
        say_more(len(rows), f"troth tenant list --after {rows[-1]['slug']}")


@tenants.command("show")
def show_(slug: Slug, state: StateFolder = STATE, json: Json = False) -> None:
    """Show one customer, with the policy where it differs from the defaults."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, Any]) -> Any:
        flat = {**{name: answer[name] for name in answer if name != "policy"}, **answer["policy"]}
        return table(("Member", "Value"), flat.items(), empty="")

    show(ask_platform(state, "tenant.show", name=slug), json=json, people=people)


@tenants.command()
def add(
    slug: Slug,
    name: Annotated[str, typer.Option("--name", help="Shown to people.")],
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Add a customer; give it a domain next: troth domain add."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "tenant.add", slug=slug, name=name)
    show(
        answer, json=json, people=lambda _: f"{slug} is a customer. Next: troth domain add … --tenant {slug}"
    )


@tenants.command()
def policy(
    slug: Slug,
    members: Annotated[
        list[str], typer.Argument(help='Such as second_factor=required; lists as JSON: ["a.example"].')
    ],
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Change what a customer decided; docs/configuration.md has the members."""
    from troth.cli.administration import ask_platform, show

    changed = dict(_member(text) for text in members)
    answer = ask_platform(state, "tenant.policy", name=slug, policy=changed)
    show(answer, json=json, people=lambda _: f"The policy of {slug} has changed: {', '.join(changed)}.")


@tenants.command()
def suspend(slug: Slug, state: StateFolder = STATE, json: Json = False) -> None:
    """Take a customer out of service: every session, token and stream of it ends at once."""
    _do("tenant.suspend", slug, state, json, f"{slug} is suspended; its data stays.")


@tenants.command()
def resume(slug: Slug, state: StateFolder = STATE, json: Json = False) -> None:
    """Take a customer into service again; people sign in anew where their sessions ran out."""
    _do("tenant.resume", slug, state, json, f"{slug} is served again.")


@tenants.command()
def remove(slug: Slug, state: StateFolder = STATE, json: Json = False) -> None:
    """Remove a customer of whom nothing is kept."""
    _do("tenant.remove", slug, state, json, f"{slug} is gone.")


def _do(verb: str, slug: str, state: Any, json: bool, done: str) -> None:
    from troth.cli.administration import ask_platform, show

    show(ask_platform(state, verb, name=slug), json=json, people=lambda _: done)


def _member(text: str) -> tuple[str, object]:
    """`name=value`, the value as JSON where it is some. Raises UsageError without a value."""
    import json

    from troth.core.errors import UsageError

    name, sign, value = text.partition("=")
    if not sign:
        raise UsageError(f"{text!r} has no value.", hint=f"Write {text}=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _state(one: dict[str, Any]) -> str:
    words = [] if one["active"] else ["suspended"]
    source = "the platform's own" if one["slug"].startswith("troth-") else "troth.toml"
    return ", ".join([*words, *([source] if one["declared"] else [])])
