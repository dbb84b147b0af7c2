"""`/api/v1/admin/roles`: the tenant's own roles, beside the platform's."""

from typing import Annotated, Any

import msgspec

from troth.access.roles import MAX_SCOPES, Role, check_name, check_scopes
from troth.core.errors import Malformed, NotFound, Unprocessable
from troth.web.administration.desk import Desk, answer, listing, read_body
from troth.web.api import Answer
from troth.web.call import Call

ScopeText = Annotated[str, msgspec.Meta(min_length=1, max_length=3000)]


class RoleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role is its scopes."""

    scopes: Annotated[tuple[ScopeText, ...], msgspec.Meta(max_length=MAX_SCOPES)]


class RolesDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        return listing(map(_tell, await self._desk.administration.roles(by)), None)

    async def put(self, call: Call) -> Answer:
        """Make it, or with If-Match change it."""
        by = await self._desk.administrator(call)
        name = _name(call)
        tags = call.tags() if b"if-match" in call.headers else None
        if b"if-match" in call.headers and tags is None:
            raise Malformed("Send If-Match with the ETag of the version that you read.")
        body = await read_body(call, RoleBody)
        try:
            scopes = check_scopes(body.scopes, self._desk.collections)
        except ValueError as error:
            raise Unprocessable("A scope is not known here.", errors=(("/scopes", f"{error}"),)) from None
        new = await self._desk.administration.put_role(by, name, scopes, tags)
        return answer({"name": name, "scopes": scopes}, status=201 if new else 200)

    async def remove(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        name, tags = _name(call), call.tags()
        if tags is None:
            raise Malformed("Send If-Match with the ETag of the version that you read.")
        await self._desk.administration.remove_role(by, name, tags)
        return Answer(204)


def _name(call: Call) -> str:
    try:
        return check_name(call.path["name"])
    except ValueError:
        raise NotFound("No role has such a name.") from None


def _tell(role: Role) -> dict[str, Any]:
    return {
        "name": role.name,
        "of": "tenant" if role.own else "platform",
        "scopes": role.scopes,
        "people": role.people,
        "etag": f'"{role.version}"',
    }
