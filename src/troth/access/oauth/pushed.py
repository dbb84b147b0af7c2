"""Authorization requests that a client leaves with us beforehand (PAR, RFC 9126), and where a request stands.

The browser then carries a reference that says nothing and works once: neither a person nor a page in between
can read or alter what is asked for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from troth.access.errors import InvalidRequest, InvalidRequestUri
from troth.access.oauth.authorize import Refused, check_request, first_values
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import Client
from troth.access.oauth.request_objects import Pairs, read_request_object
from troth.access.ports import Sealer
from troth.access.sessions import token_hash
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.secret import new_token

PREFIX = "urn:ietf:params:oauth:request_uri:"
LIFETIME = timedelta(seconds=60)

_PURPOSE = "pushed-request"
_ABOUT_THE_CLIENT = frozenset({"client_id", "client_secret", "client_assertion", "client_assertion_type"})


class Pushed(msgspec.Struct, frozen=True):
    """RFC 9126 section 2.2."""

    request_uri: str
    expires_in: int


class PushedRequests:
    """Keeps requests, sealed, until they are asked for or a minute has passed."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    async def push(self, domain: Domain, client: Client, request: ClientRequest, jkt: str = "") -> Pushed:
        """Keep a request of a client that proved who it is. Raises OAuthError with what is wrong in it: here
        the client learns it before any person does (RFC 9126 section 2.1). `jkt` is the key that the request
        was proved with: it has to redeem the code (RFC 9449 section 10.1)."""
        if "request_uri" in request.form:
            raise InvalidRequest("request_uri cannot be pushed")
        asked = [(name, value) for name, value in request.form.items() if name not in _ABOUT_THE_CLIENT]
        pairs = _open(domain, client, [("client_id", client.id), *asked], self._clock.now())
        if jkt:
            pairs = _bound_to(pairs, jkt)
        try:
            check_request(domain, pairs, client, self._clock.now())
        except Refused as refused:
            raise refused.error from None
        token = new_token()
        await self._database.execute(
            "select troth.push_request($1, $2, $3, $4, $5)",
            domain.name,
            token_hash(token),
            client.id,
            await self._sealer.seal(
                domain.tenant_id, _PURPOSE, msgspec.json.encode(pairs), _context(domain, client)
            ),
            LIFETIME,
            idempotent=True,
        )
        return Pushed(PREFIX + token, int(LIFETIME.total_seconds()))

    async def resolve(self, domain: Domain, client: Client, pairs: Sequence[tuple[str, str]]) -> Pairs:
        """What a client asks for, wherever it stands: pushed before, signed, or in the query itself. Raises
        OAuthError."""
        parameters = first_values(pairs)
        if "request_uri" in parameters:
            # What stands beside the reference is for nobody to read (RFC 9126 section 4, RFC 9101 section 5).
            _once(pairs, "request_uri")
            return await self._take(domain, client, parameters["request_uri"])
        if client.require_pushed_authorization_requests:
            raise InvalidRequest("this client pushes its requests")
        return _open(domain, client, pairs, self._clock.now())

    async def _take(self, domain: Domain, client: Client, uri: str) -> Pairs:
        """A pushed request, once. One statement takes it: of any number of callers at once, one gets it."""
        sealed = None
        if uri.startswith(PREFIX):
            sealed = await self._database.fetchval(
                "select troth.take_request($1, $2, $3)",
                domain.name,
                token_hash(uri.removeprefix(PREFIX)),
                client.id,
                idempotent=False,
            )
        if sealed is None:
            raise InvalidRequestUri("request_uri is not known, was used, or is too old; start again")
        opened = await self._sealer.open(domain.tenant_id, _PURPOSE, sealed, _context(domain, client))
        return msgspec.json.decode(opened, type=Pairs)


def _open(domain: Domain, client: Client, pairs: Sequence[tuple[str, str]], now: datetime) -> Pairs:
    """The parameters of a request that may be signed, and must be if the client was registered so."""
    parameters = first_values(pairs)
    if "request" in parameters:
        _once(pairs, "request")
        return read_request_object(domain, client, parameters["request"], now)
    if client.require_signed_request_object:
        raise InvalidRequest("this client signs its requests")
    return list(pairs)


def _once(pairs: Sequence[tuple[str, str]], name: str) -> None:
    """Two requests, or two clients, in one: two readers of it could each see another."""
    names = [one for one, _ in pairs]
    if names.count(name) > 1 or names.count("client_id") > 1 or {"request", "request_uri"} <= set(names):
        raise InvalidRequest("a parameter occurs more than once, or two requests came in one")


def _context(domain: Domain, client: Client) -> bytes:
    """A sealed request copied into another client's row does not open there."""
    return f"{domain.name} {client.id}".encode()


def _bound_to(pairs: Pairs, jkt: str) -> Pairs:
    """Raises InvalidRequest when the request names another key."""
    if first_values(pairs).get("dpop_jkt", jkt) != jkt:
        raise InvalidRequest("dpop_jkt is another key than the proof's")
    return [*(pair for pair in pairs if pair[0] != "dpop_jkt"), ("dpop_jkt", jkt)]
