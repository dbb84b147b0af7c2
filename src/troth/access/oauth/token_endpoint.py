"""The token endpoint: what all grant types have in common (RFC 6749 section 5). Each is a file of its own."""

from troth.access.errors import InvalidRequest, UnauthorizedClient, UnsupportedGrantType
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import CODE_GRANT, Client
from troth.access.oauth.code_grant import CodeGrant
from troth.access.oauth.grant import Grant, TokenResponse
from troth.access.oauth.id_token import IdTokens
from troth.access.scopes import OPENID
from troth.access.tenants import Domain
from troth.access.tokens import AccessTokens, Bearer
from troth.core.clock import Clock
from troth.core.db import Database


class TokenEndpoint:
    """Answers token requests of clients that proved who they are."""

    def __init__(self, database: Database, tokens: AccessTokens, id_tokens: IdTokens, clock: Clock) -> None:
        self._tokens = tokens
        self._id_tokens = id_tokens
        self._clock = clock
        self._grants = {CODE_GRANT: CodeGrant(database).redeem}

    async def answer(self, domain: Domain, client: Client, request: ClientRequest) -> TokenResponse:
        """Tokens for what the client shows. Raises OAuthError."""
        # 1. With what?
        grant_type = request.form.get("grant_type", "")
        if not grant_type:
            raise InvalidRequest("grant_type is missing")
        redeem = self._grants.get(grant_type)
        if redeem is None:
            raise UnsupportedGrantType(f"the grant types are {', '.join(self._grants)}")
        if not client.may_use(grant_type):
            raise UnauthorizedClient("the client was not registered for this grant type")
        # 2. It is worth a grant; whatever is consumed or ended by looking is committed before any refusal.
        grant = await redeem(domain, client, request)
        # 3. Tokens of that grant.
        return await self._issue(domain, client, grant)

    async def _issue(self, domain: Domain, client: Client, grant: Grant) -> TokenResponse:
        minted = await self._tokens.mint(domain, Bearer(grant.session, grant.person, client.id, grant.scopes))
        id_token = ""
        if OPENID in grant.scopes:
            id_token = await self._id_tokens.mint(
                domain,
                client.id,
                person=grant.person,
                session=grant.session,
                nonce=grant.nonce,
                authenticated_at=grant.authenticated_at,
            )
        return TokenResponse(
            minted.token,
            "Bearer",
            minted.expires_in(self._clock.now()),
            minted.scope,
            id_token,
            grant.refresh_token,
        )
