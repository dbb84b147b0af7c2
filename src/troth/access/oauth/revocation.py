"""Revocation (RFC 7009): a client gives back what it was granted."""

from troth.access.errors import InvalidRequest
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.sessions import Sessions
from troth.access.tenants import Domain
from troth.access.tokens import AccessTokens
from troth.core.errors import Unauthenticated


class Revocation:
    """Ends grants by one of their tokens."""

    def __init__(self, sessions: Sessions, tokens: AccessTokens) -> None:
        self._sessions = sessions
        self._tokens = tokens

    async def revoke(self, domain: Domain, client: Client, request: ClientRequest) -> None:
        """Revocation (RFC 7009): ends the grant of a token that belongs to the client. An unknown token is
        no error. Raises OAuthError on a bad request."""
        form = request.form
        if not form.get("token"):
            raise InvalidRequest("token is missing")
        try:
            principal = await self._tokens.verify(domain, form["token"])
        except Unauthenticated:
            return
        if principal.client == client.id:
            await self._sessions.end_grant(domain, principal.session, client.id, request=request.trace)
