"""The token endpoint: what all grant types have in common (RFC 6749 section 5). Each is a file of its own."""

from collections.abc import Awaitable, Callable

from troth.access.confirmation import Confirmation
from troth.access.errors import InvalidRequest, OAuthError, UnauthorizedClient, UnsupportedGrantType
from troth.access.failures import record_failure
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import CODE_GRANT, DEVICE_GRANT, REFRESH_GRANT, Client
from troth.access.oauth.code_grant import CodeGrant
from troth.access.oauth.device_grant import DeviceGrant
from troth.access.oauth.grant import Grant, TokenResponse
from troth.access.oauth.id_token import IdTokens
from troth.access.oauth.refresh_grant import RefreshGrant
from troth.access.oauth.refresh_tokens import RefreshTokens
from troth.access.oauth.sender import Senders
from troth.access.scopes import OPENID
from troth.access.tenants import Domain
from troth.access.tokens import AccessTokens, Bearer
from troth.core.clock import Clock
from troth.core.db import Database

Redeem = Callable[[Domain, Client, ClientRequest, Confirmation], Awaitable[Grant]]


class TokenEndpoint:
    """Answers token requests of clients that proved who they are."""

    def __init__(
        self,
        database: Database,
        senders: Senders,
        refresh_tokens: RefreshTokens,
        tokens: AccessTokens,
        id_tokens: IdTokens,
        clock: Clock,
    ) -> None:
        self._database = database
        self._senders = senders
        self._tokens = tokens
        self._id_tokens = id_tokens
        self._clock = clock
        self._grants: dict[str, Redeem] = {
            CODE_GRANT: CodeGrant(database, refresh_tokens).redeem,
            REFRESH_GRANT: RefreshGrant(database, refresh_tokens).redeem,
            DEVICE_GRANT: DeviceGrant(database, refresh_tokens).redeem,
        }

    async def answer(self, domain: Domain, client: Client, request: ClientRequest) -> TokenResponse:
        """Tokens for what the client shows. Raises OAuthError, which is recorded."""
        try:
            return await self._answer(domain, client, request)
        except OAuthError as error:
            await record_failure(
                self._database,
                "token.refused",
                domain.name,
                None,
                request.trace,
                client=client.id,
                reason=f"{error.code}: {error.detail or error.public}",
            )
            raise

    async def _answer(self, domain: Domain, client: Client, request: ClientRequest) -> TokenResponse:
        # 1. With what?
        grant_type = request.form.get("grant_type", "")
        if not grant_type:
            raise InvalidRequest("grant_type is missing")
        redeem = self._grants.get(grant_type)
        if redeem is None:
            raise UnsupportedGrantType(f"the grant types are {', '.join(self._grants)}")
        if not client.may_use(grant_type):
            raise UnauthorizedClient("the client was not registered for this grant type")
        # 2. To whom are the tokens bound? Before anything is used up: the proof may have to be made again.
        confirmation = await self._senders.confirm(domain, client, request)
        # 3. It is worth a grant; whatever is consumed or ended by looking is committed before any refusal.
        grant = await redeem(domain, client, request, confirmation)
        # 4. Tokens of that grant.
        return await self._issue(domain, client, grant, confirmation)

    async def _issue(
        self, domain: Domain, client: Client, grant: Grant, confirmation: Confirmation
    ) -> TokenResponse:
        bearer = Bearer(
            session=grant.session,
            person=grant.person,
            client=client.id,
            scopes=grant.scopes,
            authenticated_at=grant.authenticated_at,
            amr=grant.amr,
            confirmation=confirmation,
            details=grant.details,
        )
        minted = await self._tokens.mint(domain, bearer)
        id_token = ""
        if OPENID in grant.scopes:
            id_token = await self._id_tokens.mint(
                domain,
                client.id,
                person=grant.person,
                session=grant.session,
                nonce=grant.nonce,
                authenticated_at=grant.authenticated_at,
                amr=grant.amr,
            )
        return TokenResponse(
            minted.token,
            "DPoP" if confirmation.jkt else "Bearer",
            minted.expires_in(self._clock.now()),
            minted.scope,
            id_token,
            grant.refresh_token,
            grant.details,
        )
