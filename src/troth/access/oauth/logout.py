"""Signing out at the wish of a client (OpenID Connect RP-Initiated Logout 1.0).

A link must not sign anybody out, so the person is asked; unless the client shows an ID token of a grant that
was given under the very session of this browser, which only that client can have.
"""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from troth.access.errors import InvalidRequest
from troth.access.forgery import claims_of
from troth.access.oauth.authorize import MAX_PARAMETERS, MAX_VALUE, first_values
from troth.access.oauth.clients import Client, Clients
from troth.access.oauth.id_token import ID_TOKEN
from troth.access.sessions import Session
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.jose import Claims, TokenError

PENDING = "troth-logout+jwt"
ASKED_FOR = timedelta(minutes=30)
HINT_AGE = timedelta(days=30)
"""An ID token as a hint may be long over (section 2 of the standard)."""


class Farewell(msgspec.Struct, frozen=True):
    """A checked request: where the browser goes in the end, nowhere else when empty. `proved` says that the
    client belongs to the session of this browser, and nobody has to be asked."""

    location: str = ""
    client: str = ""
    proved: bool = False


class Logouts:
    """Checks requests, and keeps one while the person is asked."""

    def __init__(self, database: Database, clients: Clients, keys: SigningKeys, clock: Clock) -> None:
        self._database = database
        self._clients = clients
        self._keys = keys
        self._clock = clock

    async def read(
        self, domain: Domain, pairs: Sequence[tuple[str, str]], session: Session | None
    ) -> Farewell:
        """Raises InvalidRequest, shown here: nothing is redirected before client and address are known."""
        # 1. Each parameter once, and short enough.
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names) or len(names) > MAX_PARAMETERS:
            raise InvalidRequest("a parameter occurs more than once")
        if any(len(value) > MAX_VALUE for _, value in pairs):
            raise InvalidRequest("a parameter is too long")
        parameters = first_values(pairs)
        # 2. Who asks? The hint says it, or client_id; where both do, they agree.
        hint = await self._read_hint(domain, parameters.get("id_token_hint", ""))
        client = await self._client(domain, parameters.get("client_id", ""), hint)
        # 3. Where to? To nothing but what that client has registered for this.
        location = _location(parameters, client)
        # 4. Is it this browser's session that the hint is about?
        proved = session is not None and hint is not None and await self._is_of(domain, hint, session)
        return Farewell(location, client.name if client else "", proved)

    async def pack(self, domain: Domain, farewell: Farewell, session: Session) -> str:
        """The request as text while the person is asked, bound to their session."""
        now = int(self._clock.now().timestamp())
        claims = Claims(
            iss=domain.issuer,
            aud=_audience(domain),
            sub=farewell.location,
            sid=str(session.id),
            iat=now,
            exp=now + int(ASKED_FOR.total_seconds()),
        )
        return (await self._keys.ring(domain)).signer.sign(claims, PENDING)

    async def unpack(self, domain: Domain, packed: str, session: Session) -> str:
        """Where to go. Raises InvalidRequest when it is too old, was altered, or is another session's."""
        try:
            claims = await self._keys.verify(domain, packed, PENDING, _audience(domain))
        except TokenError as error:
            raise InvalidRequest(
                "this page is too old; start again from the application", detail=error.detail
            ) from None
        if claims.sid != str(session.id):
            raise InvalidRequest("this page is of another session")
        return claims.sub

    async def _read_hint(self, domain: Domain, token: str) -> Claims | None:
        """The claims of a hint that we signed, however old; of any other nothing is believed."""
        if not token:
            return None
        try:
            audience = str(claims_of(token).get("aud", ""))
            return await self._keys.verify(domain, token, ID_TOKEN, audience, HINT_AGE)
        except (TokenError, ValueError, IndexError, AttributeError):
            return None

    async def _client(self, domain: Domain, named: str, hint: Claims | None) -> Client | None:
        if hint is not None and named and hint.aud != named:
            raise InvalidRequest("client_id differs from whom the ID token is for")
        identifier = hint.aud if hint else named
        if not identifier:
            return None
        client = await self._clients.find(domain, identifier)
        if client is None:
            raise InvalidRequest("client_id is not known here")
        return client

    async def _is_of(self, domain: Domain, hint: Claims, session: Session) -> bool:
        """Any old token of this person would let any page sign them out; one of a grant under this session
        is held by nobody but its client."""
        try:
            grant = UUID(hint.sid)
        except ValueError:
            return False
        above = await self._database.fetchval("select troth.session_above($1, $2)", domain.name, grant)
        return above == session.id


def _location(parameters: dict[str, str], client: Client | None) -> str:
    uri = parameters.get("post_logout_redirect_uri", "")
    if not uri:
        return ""
    # An open redirector otherwise (RFC 9700 section 4.11).
    if client is None or uri not in client.post_logout_redirect_uris:
        raise InvalidRequest("post_logout_redirect_uri is not registered for this client")
    state = parameters.get("state", "")
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode({'state': state})}" if state else uri


def _audience(domain: Domain) -> str:
    return f"{domain.issuer}/oauth/logout"
