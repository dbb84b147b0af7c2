"""`/api/v1/admin/clients`: the applications that ask for tokens; `/client-invitations` for those that
register themselves."""

import re
from datetime import timedelta
from typing import Annotated, Any
from uuid import uuid4

import msgspec

from troth.access.administered_clients import ClientChange, ClientView
from troth.access.errors import OAuthError
from troth.access.oauth.client_metadata import Metadata, as_document, read_metadata
from troth.access.oauth.clients import MAX_CLIENT_ID
from troth.access.scopes import IDENTITY, ScopeSet, scope_set
from troth.core.clock import to_wire
from troth.core.errors import NotFound, Unprocessable
from troth.core.registration import uri_faults
from troth.core.scope import ACTIONS, Scope, admin_scopes, parse_scope
from troth.web.administration.desk import (
    Desk,
    answer,
    listing,
    page_of,
    read_body,
    read_text_cursor,
    write_text_cursor,
)
from troth.web.api import Answer
from troth.web.call import Call

CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}", re.ASCII)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Uris = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=2000)], ...], msgspec.Meta(max_length=20)]
Scopes = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=3000)], ...],
    msgspec.Meta(min_length=1, max_length=100),
]
_OWN_MEMBERS = ("client_name", "redirect_uris", "scope", "client_id", "client_secret")


class ClientBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`metadata` are further members by their names in RFC 7591 and its companions. Without an id, one is
    made."""

    name: Name
    scopes: Scopes
    redirect_uris: Uris = ()
    id: Annotated[str, msgspec.Meta(pattern=rf"^{CLIENT_ID.pattern}$")] = ""
    metadata: dict[str, Any] = {}


class ClientPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    redirect_uris: Uris | msgspec.UnsetType = msgspec.UNSET
    scopes: Scopes | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class SecretBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds the secret so far stays good."""

    overlap: Annotated[int, msgspec.Meta(ge=0, le=90 * 86_400)] = 86_400


class InvitationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For `uses` clients within `life` seconds, each with at most these scopes."""

    scopes: Scopes
    uses: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    life: Annotated[int, msgspec.Meta(ge=60, le=30 * 86_400)] = 86_400


class ClientsDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._clients = desk.clients

    async def list(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        after, limit = call.page()
        found = await self._clients.list(
            by, after=read_text_cursor(after) if after else None, limit=limit + 1
        )
        clients, more = page_of(found, limit)
        return listing(map(_tell, clients), write_text_cursor(clients[-1].id) if more else None)

    async def read(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        client = await self._clients.read(by, _id(call))
        return answer(_tell(client), tag=client.tag)

    async def add(self, call: Call) -> Answer:
        """201 with the secret, which is told this once."""
        by = await self._desk.administrator(call)
        body = await read_body(call, ClientBody)
        metadata = self._metadata(body)
        client = body.id or str(uuid4())
        secret = await self._clients.add(by, client, metadata)
        told = {"id": client, "client_secret": secret} if secret else {"id": client}
        return answer(told, status=201)

    async def patch(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        client, tags = _id(call), call.tags()
        body = await read_body(call, ClientPatch)
        before = await self._clients.read(by, client)
        change = ClientChange(
            name=before.name if body.name is msgspec.UNSET else _shown(body.name),
            redirect_uris=before.redirect_uris
            if body.redirect_uris is msgspec.UNSET
            else _redirects(body.redirect_uris, before),
            scopes=before.scopes if body.scopes is msgspec.UNSET else self._scopes(body.scopes).texts,
            disabled=before.disabled if body.disabled is msgspec.UNSET else body.disabled,
        )
        # What was left out is taken from `before`, so that is what the change is based on.
        based_on = (before.tag,) if tags is None or before.tag in tags else tags
        await self._clients.change(by, client, change, based_on)
        changed = await self._clients.read(by, client)
        return answer(_tell(changed), tag=changed.tag)

    async def remove(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        await self._clients.remove(by, _id(call))
        return Answer(204)

    async def rotate(self, call: Call) -> Answer:
        """The new secret, which is told this once."""
        by = await self._desk.administrator(call)
        client = _id(call)
        body = await read_body(call, SecretBody)
        secret = await self._clients.rotate(by, client, timedelta(seconds=body.overlap))
        return answer({"id": client, "client_secret": secret}, status=201)

    async def invite(self, call: Call) -> Answer:
        """The initial access token, which is told this once."""
        by = await self._desk.administrator(call)
        body = await read_body(call, InvitationBody)
        scopes = self._scopes(body.scopes).texts
        token = await self._clients.invite(by, scopes, body.uses, timedelta(seconds=body.life))
        told = {"initial_access_token": token, "expires_in": body.life, "uses": body.uses}
        return answer(told, status=201)

    def _metadata(self, body: ClientBody) -> Metadata:
        for member in body.metadata:
            if member in _OWN_MEMBERS:
                raise _fault(f"/metadata/{_escape(member)}", "this stands beside the metadata, not in it")
        scopes = self._scopes(body.scopes)
        document = {
            **body.metadata,
            "client_name": _shown(body.name),
            "redirect_uris": list(body.redirect_uris),
            "scope": str(scopes),
        }
        try:
            return read_metadata(document, self._ceiling())
        except OAuthError as error:
            member, _, said = error.public.partition(": ")
            place = {"redirect_uris": "/redirect_uris", "scope": "/scopes"}.get(member, "/metadata")
            raise _fault(place, said or member) from None

    def _scopes(self, texts: tuple[str, ...]) -> ScopeSet:
        try:
            scopes = scope_set(texts)
        except ValueError as error:
            raise _fault("/scopes", str(error)) from None
        for scope in scopes.data:
            if not scope.administrative and scope.collection not in self._desk.collections:
                raise _fault("/scopes", f"there is no collection {scope.collection!r}")
        return scopes

    def _ceiling(self) -> ScopeSet:
        """All that there is; what an administrator may not give, the database knows."""
        documents = (Scope(name, action) for name in self._desk.collections for action in ACTIONS)
        return ScopeSet(IDENTITY, (*documents, *map(parse_scope, admin_scopes())))


def _id(call: Call) -> str:
    client = call.path["client"]
    # One that registered itself may begin with any sign of base64url.
    if len(client) > MAX_CLIENT_ID or not client.isascii() or not client.isprintable():
        raise NotFound("There is no such client.")
    return client


def _redirects(uris: tuple[str, ...], client: ClientView) -> tuple[str, ...]:
    for fault in uri_faults("redirect_uris", uris):
        place = "/redirect_uris" if fault.place is None else f"/redirect_uris/{fault.place}"
        raise _fault(place, fault.sentence)
    if not uris and client.redirect_uris:
        raise _fault("/redirect_uris", "there is no redirect URI")
    return uris


def _shown(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise _fault("/name", "has 1 to 120 visible characters")
    return name.strip()


def _fault(place: str, said: str) -> Unprocessable:
    return Unprocessable("The content does not fit its schema.", errors=((place, said),))


def _escape(member: str) -> str:
    """RFC 6901 section 3."""
    return member[:60].replace("~", "~0").replace("/", "~1")


def _tell(client: ClientView) -> dict[str, Any]:
    """Never more of a secret than when it ends."""
    metadata = Metadata(client.name, client.redirect_uris, scope_set(client.scopes), client.registration)
    shown = {name: value for name, value in as_document(metadata).items() if name not in _OWN_MEMBERS}
    return {
        "id": client.id,
        "name": client.name,
        "origin": client.origin,
        "disabled": client.disabled,
        "redirect_uris": client.redirect_uris,
        "scopes": client.scopes,
        "metadata": shown,
        "secrets": [to_wire(end) if end else None for end in client.secrets],
        "grants": client.grants,
        "created_at": to_wire(client.created_at),
    }
