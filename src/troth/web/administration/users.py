"""`/api/v1/admin/users`: the tenant's people."""

from typing import Annotated, Any, Literal

import msgspec

from troth.access.accounts.people import Profile
from troth.access.administration import User
from troth.core.clock import to_wire
from troth.core.errors import Unprocessable
from troth.data.document import read_cursor, write_cursor
from troth.web.administration.desk import Desk, answer, listing, page_of, read_body
from troth.web.api import Answer
from troth.web.call import Call

RoleName = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    roles: Annotated[tuple[RoleName, ...], msgspec.Meta(max_length=50)] | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class UserBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite; without a language, the tenant's."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    roles: Annotated[tuple[RoleName, ...], msgspec.Meta(max_length=50)] = ()
    language: Literal["en", "de"] | None = None


class UsersDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        after, limit = call.page()
        found = await self._desk.administration.users(
            by, after=read_cursor(after) if after else None, limit=limit + 1
        )
        users, more = page_of(found, limit)
        return listing(map(_tell, users), write_cursor(users[-1].id) if more else None)

    async def read(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        user = await self._desk.administration.user(by, call.identifier)
        return answer(_tell(user), tag=user.tag)

    async def invite(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        body = await read_body(call, UserBody)
        if not body.name.strip() or not body.name.isprintable():
            fault = ("/name", "has 1 to 120 visible characters")
            raise Unprocessable("The content does not fit its schema.", errors=(fault,))
        language = body.language or await self._desk.language(by)
        profile, roles = Profile(body.email, body.name.strip()), tuple(sorted(set(body.roles)))
        person = await self._desk.administration.invite(by, profile, roles, language=language)
        return answer({"id": str(person)}, status=201)

    async def patch(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        person, tags = call.identifier, call.tags()
        body = await read_body(call, UserPatch)
        before = await self._desk.administration.user(by, person)
        await self._desk.administration.change_user(
            by,
            person,
            roles=before.roles if body.roles is msgspec.UNSET else tuple(sorted(set(body.roles))),
            disabled=before.disabled if body.disabled is msgspec.UNSET else body.disabled,
            # What was left out is taken from `before`, so that is what the change is based on.
            tags=(before.tag,) if tags is None or before.tag in tags else tags,
        )
        changed = await self._desk.administration.user(by, person)
        return answer(_tell(changed), tag=changed.tag)

    async def sign_out(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        await self._desk.administration.sign_out(by, call.identifier)
        return Answer(204)

    async def reset_password(self, call: Call) -> Answer:
        """202: a message is on its way."""
        by = await self._desk.administrator(call)
        language = await self._desk.language(by)
        await self._desk.administration.order_reset(by, call.identifier, language=language)
        return Answer(202)

    async def reset_factors(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        await self._desk.administration.reset_factors(by, call.identifier)
        return Answer(204)


def _tell(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.profile.email,
        "name": user.profile.name,
        "roles": user.roles,
        "disabled": user.disabled,
        "created_at": to_wire(user.created_at),
        "email_verified_at": to_wire(user.email_verified_at) if user.email_verified_at else None,
        "has_password": user.has_password,
    }
