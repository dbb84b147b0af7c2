"""`client.*`: the clients of one tenant, their secrets, and invitations to register."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec

from troth.access.oauth.client_administration import (
    Listed,
    NewClient,
    add_client,
    invite_client,
    list_clients,
    remove_client,
    rotate_secret,
    set_disabled,
)
from troth.access.oauth.clients import Registration
from troth.access.scopes import scope_set
from troth.core.client_certificates import read_authorities
from troth.core.client_kinds import WITH_SECRET
from troth.core.errors import UsageError
from troth.core.names import SESSION_CLIENT
from troth.core.registration import RegistrationFault, read_keys, registration_faults
from troth.wiring.administration.office import Answer, Tools, Verb, tenant_of

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Which tenant's clients; with `client` that one alone."""

    tenant: str
    client: str = ""


class Adding(msgspec.Struct, frozen=True, kw_only=True):
    """A client to add. `metadata` are further members by their names in RFC 7591 and its companions; `jwks`
    among them is a JWK set. `authorities` is a PEM file's text, for tls_client_auth."""

    tenant: str
    client: Name
    name: Text
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    authorities: str = ""


class Naming(msgspec.Struct, frozen=True, kw_only=True):
    """One client."""

    tenant: str
    client: str


class Rotating(Naming, frozen=True, kw_only=True):
    """`overlap` is for how many seconds the old secret stays good."""

    overlap: Annotated[int, msgspec.Meta(ge=0, le=90 * 86_400)] = 86_400


class Inviting(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation for `uses` clients within `life` seconds, each with at most these scopes."""

    tenant: str
    scopes: tuple[str, ...]
    uses: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    life: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 86_400


async def _list(tools: Tools, asked: Listing) -> Answer:
    found = await list_clients(tools.owner, await tenant_of(tools, asked.tenant))
    if asked.client:
        found = tuple(one for one in found if one.id == asked.client)
        if not found:
            raise _unknown(asked)
    return {"clients": [_tell(one) for one in found]}


async def _add(tools: Tools, asked: Adding) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    if asked.client == SESSION_CLIENT:
        raise UsageError("No client may be called “session”.", hint="Choose another client_id.")
    registration = _registration(asked)
    for fault in registration_faults(registration, asked.redirect_uris):
        raise _fault(fault)
    new = NewClient(
        id=asked.client,
        name=_shown(asked.name),
        redirect_uris=asked.redirect_uris,
        scopes=_scopes(tools, asked.scopes),
        registration=registration,
    )
    secret = await add_client(tools.owner, tenant, new)
    if secret is None:
        raise UsageError(
            f"{asked.tenant} has a client {asked.client!r} already.", hint="See: troth client list"
        )
    return {"client": asked.client, **({"secret": secret} if secret else {})}


async def _rotate(tools: Tools, asked: Rotating) -> Answer:
    tenant, client = await _client(tools, asked)
    if client.registration.token_endpoint_auth_method not in WITH_SECRET:
        method = client.registration.token_endpoint_auth_method
        raise UsageError(f"{asked.client} has no secret: it is registered for {method}.")
    secret = await rotate_secret(tools.owner, tenant, asked.client, timedelta(seconds=asked.overlap))
    return {"client": asked.client, "secret": secret}


async def _disable(tools: Tools, asked: Naming) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    return _ended(asked, await set_disabled(tools.owner, tenant, asked.client, True))


async def _enable(tools: Tools, asked: Naming) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    return _ended(asked, await set_disabled(tools.owner, tenant, asked.client, False))


async def _remove(tools: Tools, asked: Naming) -> Answer:
    tenant, client = await _client(tools, asked)
    if client.origin == "declared" and not client.disabled:
        raise UsageError(
            f"{asked.client} stands in troth.toml and would come back at the next start.",
            hint=f"Take [clients.{asked.client}] out of it, or: troth client disable {asked.client}",
        )
    return _ended(asked, await remove_client(tools.owner, tenant, asked.client))


async def _invite(tools: Tools, asked: Inviting) -> Answer:
    tenant = await tenant_of(tools, asked.tenant)
    scopes = _scopes(tools, asked.scopes)
    if not scopes:
        raise UsageError("An invitation names the most that a client may get.", hint="Add scopes.")
    life = timedelta(seconds=asked.life)
    return {"token": await invite_client(tools.owner, tenant, scopes, uses=asked.uses, life=life)}


async def _client(tools: Tools, asked: Naming) -> tuple[UUID, Listed]:
    tenant = await tenant_of(tools, asked.tenant)
    for one in await list_clients(tools.owner, tenant):
        if one.id == asked.client:
            return tenant, one
    raise _unknown(asked)


def _registration(asked: Adding) -> Registration:
    """Raises UsageError."""
    members: dict[str, object] = dict(asked.metadata)
    own = {field.encode_name for field in msgspec.structs.fields(Registration)}
    if unknown := sorted(members.keys() - own):
        raise UsageError(f"There is no member {unknown[0][:60]!r} of a client's metadata.")
    try:
        if "jwks" in members:
            members["jwks"] = read_keys(members["jwks"])
        if asked.authorities:
            members["tls_client_auth_authorities"] = read_authorities(asked.authorities.encode())
        return msgspec.convert(members, Registration, strict=True)
    except RegistrationFault as fault:
        raise _fault(fault) from None
    except ValueError as error:
        raise UsageError(f"This cannot be read: {error}.") from None


def _scopes(tools: Tools, texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        scopes = scope_set(texts)
    except ValueError as error:
        raise UsageError(f"{error}.", hint="Write collection:action, like tickets:read.") from None
    for scope in scopes.data:
        if not scope.administrative and scope.collection not in tools.settings.collections:
            raise UsageError(f"There is no collection {scope.collection!r}.")
    return scopes.texts


def _shown(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise UsageError("This name cannot be shown.", hint="Write 1 to 120 visible characters.")
    return name.strip()


def _ended(asked: Naming, grants: int | None) -> Answer:
    if grants is None:
        raise _unknown(asked)
    return {"client": asked.client, "grants_ended": grants}


def _unknown(asked: Naming | Listing) -> UsageError:
    return UsageError(
        f"{asked.tenant} has no client {asked.client[:60]!r}.",
        hint=f"See: troth client list --tenant {asked.tenant}",
    )


def _fault(fault: RegistrationFault) -> UsageError:
    return UsageError(f"{fault.member}: {fault.sentence}", hint="See docs/api.md, “Clients”.")


def _tell(client: Listed) -> Answer:
    """Never more of a secret than when it ends."""
    return {
        "client": client.id,
        "name": client.name,
        "origin": client.origin,
        "disabled": client.disabled,
        "method": client.registration.token_endpoint_auth_method,
        "redirect_uris": client.redirect_uris,
        "scopes": client.scopes,
        "metadata": msgspec.to_builtins(client.registration),
        "secrets": [end.isoformat() if end else "no end" for end in client.secrets],
        "grants": client.grants,
        "created_at": client.created_at.isoformat(),
    }


VERBS = (
    Verb("client.list", Listing, _list),
    Verb("client.add", Adding, _add),
    Verb("client.rotate", Rotating, _rotate),
    Verb("client.disable", Naming, _disable),
    Verb("client.enable", Naming, _enable),
    Verb("client.remove", Naming, _remove),
    Verb("client.invite", Inviting, _invite),
)
