"""`troth client`: applications of others that a customer's people may connect."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from troth.cli.options import STATE, Json, StateFolder, Tenant, group, hours_up_to

clients = group("Clients: applications that ask for tokens by OAuth 2.0.")

_MOST_BYTES = 256 * 1024
"""More than the control socket takes could not be sent."""

Client = Annotated[str, typer.Argument(help="The client_id.")]
Scope = Annotated[
    list[str], typer.Option("--scope", help="The most it may get, such as tickets:read; repeat it.")
]
Hours = Annotated[
    float,
    typer.Option(
        "--hours", parser=hours_up_to(2160), metavar="NUMBER", help="For how long it is good; at most 2160."
    ),
]
InvitationHours = Annotated[
    float,
    typer.Option(
        "--hours",
        parser=hours_up_to(720, least=0.1),
        metavar="NUMBER",
        help="For how long it is good; at most 720.",
    ),
]


@clients.command("list")
def list_(tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Show a customer's clients."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        rows = cast("list[dict[str, Any]]", answer["clients"])
        cells = [
            (one["client"], one["name"], one["method"], one["origin"], one["grants"], _state(one))
            for one in rows
        ]
        head = ("Client", "Name", "Proves itself by", "From", "Grants", "")
        return table(head, cells, empty="There are no clients.")

    show(ask_platform(state, "client.list", tenant=tenant), json=json, people=people)


@clients.command("show")
def show_(client: Client, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Show everything that a client is registered with; of secrets, until when they are good."""
    from troth.cli.administration import ask_platform, show, table

    def people(answer: dict[str, object]) -> Any:
        (one,) = cast("list[dict[str, Any]]", answer["clients"])
        flat = {**{name: one[name] for name in one if name != "metadata"}, **one["metadata"]}
        return table(("Member", "Value"), [(name, _words(value)) for name, value in flat.items()], empty="")

    answer = ask_platform(state, "client.list", tenant=tenant, client=client)
    show(answer, json=json, people=people)


@clients.command()
def add(
    client: Client,
    tenant: Tenant,
    name: Annotated[str, typer.Option("--name", help="Shown to the person who is asked for consent.")],
    redirect: Annotated[
        list[str] | None, typer.Option("--redirect", help="Where answers may go, exactly; repeat it.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="The most it may get, such as tickets:read.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="How it proves who it is; see docs/api.md.")
    ] = "client_secret_basic",
    metadata: Annotated[
        Path | None, typer.Option("--metadata", help="A JSON file with further members (RFC 7591).")
    ] = None,
    authorities: Annotated[
        Path | None, typer.Option("--authorities", help="A PEM file, for tls_client_auth.")
    ] = None,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Add a client. Its secret, if it needs one, is printed this once."""
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(
        state,
        "client.add",
        tenant=tenant,
        client=client,
        name=name,
        redirect_uris=redirect or [],
        scopes=scope or [],
        metadata={"token_endpoint_auth_method": method, **_read_metadata(metadata)},
        authorities=_read(authorities),
    )
    show(answer, json=json, people=lambda told: _secret(told, f"{client} of {tenant} is registered."))


@clients.command("rotate-secret")
def rotate_secret(
    client: Client, tenant: Tenant, hours: Hours = 24, state: StateFolder = STATE, json: Json = False
) -> None:
    """Make a new secret, printed this once. The old one stays good for --hours."""
    from troth.cli.administration import ask_platform, show

    overlap = int(hours * 3600)
    answer = ask_platform(state, "client.rotate", tenant=tenant, client=client, overlap=overlap)
    show(answer, json=json, people=lambda told: _secret(told, f"{client} of {tenant} has a new secret."))


@clients.command()
def disable(client: Client, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Make a client unknown. Everything that it was granted is over at once, on every instance."""
    _change("client.disable", client, tenant, state, json=json, said="is disabled")


@clients.command()
def enable(client: Client, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Let a disabled client in again. People have to agree to it anew."""
    _change("client.enable", client, tenant, state, json=json, said="may be used again")


@clients.command()
def remove(client: Client, tenant: Tenant, state: StateFolder = STATE, json: Json = False) -> None:
    """Remove a client and everything that it was granted."""
    _change("client.remove", client, tenant, state, json=json, said="is gone")


@clients.command()
def invite(
    tenant: Tenant,
    scope: Scope,
    uses: Annotated[
        int, typer.Option("--uses", min=1, max=1000, help="How many clients may register with it.")
    ] = 1,
    hours: InvitationHours = 24,
    state: StateFolder = STATE,
    json: Json = False,
) -> None:
    """Print a token with which a client registers itself at /oauth/register (RFC 7591)."""
    from troth.cli.administration import ask_platform, show

    life = int(hours * 3600)
    answer = ask_platform(state, "client.invite", tenant=tenant, scopes=scope, uses=uses, life=life)
    show(answer, json=json, people=lambda told: f"Initial access token, shown this once: {told['token']}")


def _change(do: str, client: str, tenant: str, state: Path, *, json: bool, said: str) -> None:
    from troth.cli.administration import ask_platform, show

    answer = ask_platform(state, do, tenant=tenant, client=client)
    show(answer, json=json, people=lambda told: f"{client} of {tenant} {said}.{_grants(told)}")


def _grants(told: dict[str, object]) -> str:
    return f" Grants ended: {told['grants_ended']}." if told["grants_ended"] else ""


def _secret(told: dict[str, object], said: str) -> str:
    return f"{said} Its secret, shown this once: {told['secret']}" if "secret" in told else said


def _state(one: dict[str, Any]) -> str:
    return "disabled" if one["disabled"] else ""


def _words(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, cast("list[object]", value)))
    return str(value)


def _read(file: Path | None) -> str:
    from troth.core.errors import UsageError
    from troth.core.files import read_up_to

    if file is None:
        return ""
    try:
        content = read_up_to(file, _MOST_BYTES)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{file} is larger than {_MOST_BYTES // 1024} KiB.")
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no UTF-8 text.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from None


def _read_metadata(file: Path | None) -> dict[str, object]:
    from troth.core.errors import UsageError
    from troth.core.jose_parts import read_object

    try:
        return read_object(_read(file).encode()) if file else {}
    except ValueError as error:
        raise UsageError(f"{file} is no JSON object: {error}.") from None
