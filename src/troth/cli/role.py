"""`troth role`: bundles of scopes that people are given."""

from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, Tenant, group

roles = group("Roles: bundles of scopes, of the platform (troth.toml) or of one customer.")

Name = Annotated[str, typer.Argument(help="The role's short name.")]
Scopes = Annotated[
    list[str],
    typer.Argument(help="Such as tickets:read:own or admin.users:read; see docs/administration.md."),
]


@roles.command("list")
def list_(tenant: Tenant = "", state: StateFolder = STATE, json: Json = False) -> None:
    """Show the platform's roles, and with --tenant that customer's own."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        rows = cast("list[dict[str, Any]]", answer["roles"])
        cells = [
            (one["name"], one["of"], one["people"] if tenant else "", " ".join(one["scopes"])) for one in rows
        ]
        return table(("Role", "Of", "People", "Scopes"), cells, empty="There are no roles.")

    show(ask_platform(state, "role.list", tenant=tenant), json=json, people=people)


@roles.command()
def add(name: Name, scopes: Scopes, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Make a role for one customer. One of the same name that the platform has stands back behind it."""
    _put(name, scopes, tenant, state, new=True, json=json)


@roles.command("set")
def set_(name: Name, scopes: Scopes, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Change a customer's role. Access tokens that say more than it are refused from now on."""
    _put(name, scopes, tenant, state, new=False, json=json)


@roles.command()
def remove(name: Name, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Take a role away from a customer, and from everybody who holds it."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "role.remove", tenant=tenant, name=name)
    show(answer, json=json, people=lambda _: f"The role {name} of {tenant} is gone.")


def _put(name: str, scopes: list[str], tenant: str, state: Any, *, new: bool, json: bool) -> None:
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, "role.put", tenant=tenant, name=name, scopes=scopes, new=new)
    show(
        answer,
        json=json,
        people=lambda _: f"The role {name} of {tenant} has {len(scopes)} scope{'s' * (len(scopes) != 1)}.",
    )
