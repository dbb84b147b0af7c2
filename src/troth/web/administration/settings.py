"""`/api/v1/admin/settings`: what the tenant decides for its people, and how this domain looks."""

import base64
import binascii
from typing import Annotated, Any

import msgspec

from troth.access.administered_settings import SettingsView
from troth.access.tenants import Branding, Logo
from troth.core.branding import DEFAULT_COLOUR
from troth.core.errors import Unprocessable
from troth.core.policy import TenantPolicy
from troth.web.administration.desk import Desk, answer, read_body
from troth.web.api import Answer
from troth.web.call import Call


class LogoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image in base64."""

    type: Annotated[str, msgspec.Meta(max_length=40)]
    data: str


class BrandingBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty name is the tenant's."""

    name: Annotated[str, msgspec.Meta(max_length=120)] = ""
    colour: Annotated[str, msgspec.Meta(max_length=7)] = DEFAULT_COLOUR
    logo: LogoBody | None = None


class PolicyBody(TenantPolicy, frozen=True, forbid_unknown_fields=True):
    """The same as in troth.toml, but a misspelt member must not leave a door open that was to be closed."""


class SettingsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it: what a policy leaves out is its default."""

    policy: PolicyBody
    branding: BrandingBody


class SettingsDesk:
    """Handlers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._settings = desk.settings

    async def read(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        settings = await self._settings.read(by)
        return answer(_tell(settings), tag=settings.tag)

    async def put(self, call: Call) -> Answer:
        by = await self._desk.administrator(call)
        tags = call.tags()
        body = await read_body(call, SettingsBody)
        policy = TenantPolicy(**msgspec.structs.asdict(body.policy))
        await self._settings.put(by, policy, _branding(body.branding), tags)
        return Answer(204)


def _branding(body: BrandingBody) -> Branding:
    if body.logo is None:
        return Branding(body.name, body.colour)
    try:
        data = base64.b64decode(body.logo.data, validate=True)
    except (binascii.Error, ValueError):
        fault = ("/branding/logo/data", "is no base64")
        raise Unprocessable("The content does not fit its schema.", errors=(fault,)) from None
    return Branding(body.name, body.colour, Logo(body.logo.type, data))


def _tell(settings: SettingsView) -> dict[str, Any]:
    return {
        "policy": msgspec.structs.asdict(settings.policy),
        "branding": msgspec.to_builtins(settings.branding),
        "declared": settings.declared,
    }
