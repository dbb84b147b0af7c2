"""Revocation (RFC 7009): a client gives back what it was granted.

Whichever token it shows, the whole grant ends with it: access and refresh tokens, on every instance.
"""

from uuid import UUID

from troth.access.errors import InvalidRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.refresh_tokens import RefreshTokens
from troth.access.sessions import Sessions
from troth.access.tenants import Domain
from troth.access.tokens import AccessTokens
from troth.core.errors import Unauthenticated


class Revocation:
    """Ends grants by one of their tokens."""

    def __init__(self, sessions: Sessions, tokens: AccessTokens, refresh_tokens: RefreshTokens) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens

    async def revoke(self, domain: Domain, client: Client, request: ClientRequest) -> None:
        """End the grant of a token that belongs to the client. An unknown token, or another client's, is no
        error and changes nothing. Raises InvalidRequest when none is there."""
        token = request.form.get("token", "")
        if not token:
            raise InvalidRequest("token is missing")
        grant = await self._grant_of(domain, token)
        if grant is not None:
            # The function compares the client: nobody ends what another was granted.
            await self._sessions.end_grant(domain, grant, client.id, request=request.trace)

    async def _grant_of(self, domain: Domain, token: str) -> UUID | None:
        """`token_type_hint` is not needed: the two kinds cannot be taken for one another."""
        refresh = await self._refresh_tokens.read(domain, token)
        if refresh is not None:
            return refresh.grant
        try:
            return (await self._tokens.verify(domain, token)).session
        except Unauthenticated:
            return None
