"""Device authorization requests (RFC 8628): what a device shows, and what a person types elsewhere.

The device's own code has 256 random bits. The person's has eight consonants, which form no words: 35 bits,
good for ten minutes, and whoever guesses wrong a few times is not listened to for that long.
"""

import secrets
from datetime import timedelta
from uuid import UUID

import msgspec

from troth.access.errors import InvalidScope, SlowDown, UnauthorizedClient
from troth.access.oauth.authorization_details import Details
from troth.access.oauth.client_authentication import ClientRequest
from troth.access.oauth.clients import DEVICE_GRANT, Client
from troth.access.ports import Sealer
from troth.access.scopes import OPENID, ScopeSet, asked_scopes, grant_for_client, intersect, scope_set
from troth.access.sessions import Session, token_hash
from troth.access.tenants import Domain
from troth.access.whereabouts import network_of
from troth.core.db import Database
from troth.core.errors import PlatformError, TooMany
from troth.core.secret import new_token

LIFETIME = timedelta(minutes=10)
POLL_SECONDS = 5

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 section 6.1: no vowels, so no words, and nothing that looks like a digit."""

CODE_LETTERS = 8

MOST_OPEN = 1000
"""Requests of one client that wait at once: each more would make a guess more likely to hit."""

GUESSES_OF_A_SESSION = 5
GUESSES_OF_A_NETWORK = 30
GUESSING_SPAN = timedelta(minutes=10)

_PURPOSE = "device-user-code"
_ATTEMPTS = 5


class DeviceAuthorization(msgspec.Struct, frozen=True):
    """RFC 8628 section 3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class DeviceWish(msgspec.Struct, frozen=True):
    """What the device of a user code would like, for a person to decide."""

    user_code: str
    client: str
    client_name: str
    scopes: ScopeSet
    details: Details


class DeviceCodes:
    """Begins requests, finds them by what a person typed, and takes the person's answer."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def begin(self, domain: Domain, client: Client, request: ClientRequest) -> DeviceAuthorization:
        """The device authorization endpoint (section 3.1). Raises OAuthError."""
        if not client.may_use(DEVICE_GRANT):
            raise UnauthorizedClient("the client was not registered for this grant type")
        scopes = _for_client(asked_scopes(request.form.get("scope", "")), client)
        if not scopes:
            raise InvalidScope("nothing of this scope can be granted")
        device_code = new_token()
        for _ in range(_ATTEMPTS):
            user_code = _new_user_code()
            outcome = await self._begin(domain, client, device_code, user_code, scopes)
            if outcome == "full":
                raise SlowDown("too many devices of this client are waiting")
            if outcome == "begun":
                return _told(domain, device_code, user_code)
        raise PlatformError("No user code is free.", detail=domain.name)

    async def find(
        self, domain: Domain, session: Session, typed: str, *, address: str = "", trace: str = ""
    ) -> DeviceWish | None:
        """The request of a code that a signed-in person typed, narrowed to what they may; None when there is
        none. Raises TooMany after too many wrong ones by this session or from this network."""
        user_code = read_user_code(typed)
        row = await self._database.fetchrow(
            "select * from troth.find_device($1, $2, $3, $4, $5, $6, $7)",
            domain.name,
            await self._index(domain, user_code),
            [token_hash(f"session {session.id}"), token_hash(f"network {network_of(address)}")],
            [GUESSES_OF_A_SESSION, GUESSES_OF_A_NETWORK],
            GUESSING_SPAN,
            session.person,
            trace,
            idempotent=False,
        )
        if row is not None and row["outcome"] == "stopped":
            seconds = int(GUESSING_SPAN.total_seconds())
            raise TooMany("Too many wrong codes. Try again in ten minutes.", retry_after=seconds)
        if row is None or row["outcome"] != "found":
            return None
        asked = scope_set(row["scopes"])
        return DeviceWish(
            user_code=user_code,
            client=row["client_id"],
            client_name=row["client_name"],
            scopes=grant_for_client(asked, asked, scope_set(session.person_scopes)),
            details=msgspec.json.decode(row["details"], type=Details) if row["details"] else (),
        )

    async def decide(
        self, domain: Domain, session: UUID, wish: DeviceWish, *, allow: bool, trace: str = ""
    ) -> bool:
        """The person's answer, which counts once. False when it comes too late."""
        return await self._database.fetchval(
            "select troth.decide_device($1, $2, $3, $4, $5)",
            domain.name,
            await self._index(domain, wish.user_code),
            session,
            list(wish.scopes.texts) if allow and wish.scopes else None,
            trace,
            idempotent=False,
        )

    async def _begin(
        self, domain: Domain, client: Client, device_code: str, user_code: str, scopes: ScopeSet
    ) -> str:
        return await self._database.fetchval(
            "select troth.begin_device($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            domain.name,
            token_hash(device_code),
            await self._index(domain, user_code),
            client.id,
            list(scopes.texts),
            None,
            LIFETIME,
            POLL_SECONDS,
            MOST_OPEN,
            idempotent=True,
        )

    async def _index(self, domain: Domain, user_code: str) -> bytes:
        """Not a bare hash: 35 bits are searched in seconds by who reads the table."""
        said = f"{domain.name} {user_code}".encode()
        return await self._sealer.blind_index(domain.tenant_id, _PURPOSE, said)


def read_user_code(typed: str) -> str:
    """What a person typed, however they wrote it (section 6.1): letters alone, in capitals."""
    return "".join(letter for letter in typed.upper()[:64] if letter in ALPHABET)[: CODE_LETTERS + 1]


def show_user_code(user_code: str) -> str:
    """As it is easier to read."""
    return f"{user_code[:4]}-{user_code[4:]}"


def _new_user_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LETTERS))


def _for_client(asked: ScopeSet, client: Client) -> ScopeSet:
    """asked ∩ client; what the person may is known when there is one."""
    wished = asked or client.scopes
    identity = tuple(name for name in wished.identity if name == OPENID or name in client.scopes.identity)
    return ScopeSet(identity, intersect(wished.data, client.scopes.data))


def _told(domain: Domain, device_code: str, user_code: str) -> DeviceAuthorization:
    shown, place = show_user_code(user_code), f"{domain.issuer}/device"
    return DeviceAuthorization(
        device_code=device_code,
        user_code=shown,
        verification_uri=place,
        verification_uri_complete=f"{place}?user_code={shown}",
        expires_in=int(LIFETIME.total_seconds()),
        interval=POLL_SECONDS,
    )
