"""The grant type device_code (RFC 8628 section 3.4): a device asks until a person has decided."""

import re
from typing import NoReturn

from uuid_utils.compat import uuid7

from troth.access.confirmation import Confirmation
from troth.access.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidGrant,
    InvalidRequest,
    SlowDown,
)
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.code_grant import new_refresh_token, with_refresh_token
from troth.access.oauth.grant import Grant, outcome_of, read_grant
from troth.access.oauth.refresh_grant import bound_family
from troth.access.oauth.refresh_tokens import RefreshTokens
from troth.access.sessions import token_hash
from troth.access.tenants import Domain
from troth.core.db import Database

_CODE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class DeviceGrant:
    """Answers devices."""

    def __init__(self, database: Database, tokens: RefreshTokens) -> None:
        self._database = database
        self._tokens = tokens

    async def redeem(
        self, domain: Domain, client: Client, request: ClientRequest, confirmation: Confirmation
    ) -> Grant:
        """What the person agreed to, under the session in which they did. Raises OAuthError, most often
        AuthorizationPending."""
        code = request.form.get("device_code", "")
        if not code:
            raise InvalidRequest("device_code is missing")
        if not _CODE.fullmatch(code):
            raise InvalidGrant("the device code is not valid", detail="malformed")
        refresh = new_refresh_token(client, uuid7())
        row = await self._database.fetchrow(
            "select * from troth.poll_device($1, $2, $3, $4, $5, $6, $7)",
            domain.name,
            token_hash(code),
            client.id,
            refresh.grant,
            refresh.secret_hash if refresh.secret else None,
            bound_family(client, confirmation),
            request.trace,
            idempotent=True,
        )
        outcome = outcome_of(row)
        if row is None or outcome != "granted":
            _refuse(outcome)
        return await with_refresh_token(self._tokens, domain, read_grant(row), refresh)


def _refuse(outcome: str) -> NoReturn:
    match outcome:
        case "pending":
            raise AuthorizationPending("the person has not decided yet")
        case "slow_down":
            raise SlowDown("ask five seconds less often")
        case "denied":
            raise AccessDenied("the person did not agree")
        case "expired":
            raise ExpiredToken("the code is too old; begin again")
        case _:
            raise InvalidGrant("the device code is not valid", detail=outcome)
