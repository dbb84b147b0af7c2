"""`troth user`: a customer's people. A password is chosen by its owner, through a link; never here."""

from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, Tenant, group

users = group("People: added, invited, given roles, disabled. Their passwords are theirs to choose.")

Who = Annotated[str, typer.Argument(help="The person's e-mail address, or their id.")]
Email = Annotated[str, typer.Argument(help="The person's e-mail address.")]
Name = Annotated[str, typer.Option("--name", help="Shown to the person, and to others.")]
Role = Annotated[list[str] | None, typer.Option("--role", help="A role of theirs; repeat it.")]
Domain = Annotated[
    str, typer.Option("--domain", help="Where the link leads; needed when the customer has several.")
]
Language = Annotated[str, typer.Option("--language", help="Of the message: en or de.")]


@users.command("list")
def list_(
    tenant: Tenant,
    after: Annotated[str, typer.Option("--after", help="Show who follows this id.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many at most.")] = 100,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Show a customer's people, the oldest first, a page at a time."""
    from troth.cli.administration import ask_platform, show, table
    from troth.cli.screen import err

    def people(answer: dict[str, object]) -> Any:
        rows = cast("list[dict[str, Any]]", answer["users"])
        cells = [(one["email"], one["name"], " ".join(one["roles"]), _state(one)) for one in rows]
        return table(("E-mail", "Name", "Roles", ""), cells, empty="There is nobody.")

    answer = ask_platform(state, "user.list", tenant=tenant, after=after, limit=limit)
    show(answer, json=json, people=people)
    if answer["next"] and not json:
        err.print(f"There are more: troth user list --tenant {tenant} --after {answer['next']}", style="dim")


@users.command("show")
def show_(who: Who, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Show one person."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, Any]) -> Any:
        words = {**answer, "roles": " ".join(answer["roles"])}
        return table(("Member", "Value"), words.items(), empty="")

    show(ask_platform(state, "user.show", tenant=tenant, who=who), json=json, people=people)


@users.command()
def add(
    email: Email,
    tenant: Tenant,
    name: Name,
    role: Role = None,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Add a person who has no password yet; `troth user invite` adds one and lets them choose it."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "user.add", tenant=tenant, email=email, name=name, roles=role or [])
    next_ = f"Next: troth user invite {email} --tenant {tenant} …"
    show(answer, json=json, people=lambda _: f"{email} is here, without a password. {next_}")


@users.command()
def invite(
    email: Email,
    tenant: Tenant,
    name: Name,
    role: Role = None,
    domain: Domain = "",
    language: Language = "",
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Add a person and send them a link by which they choose a password; once more to send a new one."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(
        state,
        "user.invite",
        tenant=tenant,
        email=email,
        name=name,
        roles=role or [],
        domain=domain,
        language=language,
    )
    show(answer, json=json, people=lambda told: _sent(told, "An invitation"))


@users.command("reset-password")
def reset_password(
    who: Who,
    tenant: Tenant,
    domain: Domain = "",
    language: Language = "",
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Send a person a link by which they choose a new password. The old one is good until then."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(
        state, "user.reset-password", tenant=tenant, who=who, domain=domain, language=language
    )
    show(answer, json=json, people=lambda told: _sent(told, "A link for a new password"))


@users.command()
def roles(
    who: Who,
    tenant: Tenant,
    names: Annotated[
        list[str] | None, typer.Argument(help="All their roles from now on. None: none.")
    ] = None,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Give a person these roles and no others. Access tokens that say more are refused from now on."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "user.roles", tenant=tenant, who=who, roles=names or [])
    show(answer, json=json, people=lambda told: f"{told['email']} has: {_names(told)}.")


@users.command()
def disable(who: Who, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Let a person in no more. Every session of theirs ends at once."""
    _do("user.disable", who, tenant, state, json, "is disabled.")


@users.command()
def enable(who: Who, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Let a disabled person in again; they sign in anew."""
    _do("user.enable", who, tenant, state, json, "may sign in again.")


@users.command("sign-out")
def sign_out(who: Who, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """End every session of a person, and everything granted under them."""
    _do("user.sign-out", who, tenant, state, json, "is signed out everywhere.")


@users.command("reset-factors")
def reset_factors(who: Who, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Take the authenticator app, passkeys and recovery codes away from a person who lost them."""
    _do("user.reset-factors", who, tenant, state, json, "has no second factor any more.")


def _do(verb: str, who: str, tenant: str, state: Any, json: bool, done: str) -> None:
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, verb, tenant=tenant, who=who)
    show(answer, json=json, people=lambda told: f"{told['email']} {done}")


def _sent(told: dict[str, Any], what: str) -> str:
    """Where the link is. It is shown on no screen: whoever reads it could use it."""
    hours = f"good once, for {told['hours']:g} hours" if told["hours"] >= 1 else "good once, for half an hour"
    if "link_file" not in told:
        return f"{what} is on its way to {told['email']}; it is {hours}."
    return (
        f"{what} lies in {told['link_file']}, for there is no [mail] in troth.toml. "
        f"Hand it to {told['email']} by a way that you trust; it is {hours}."
    )


def _names(told: dict[str, Any]) -> str:
    return ", ".join(told["roles"]) or "no role"


def _state(one: dict[str, Any]) -> str:
    words = ["disabled"] if one["disabled"] else []
    return ", ".join(words if one["has_password"] else [*words, "no password"])
