"""Server-side sessions: the browser holds 256 random bits, the database their SHA-256 and the domain.

Each use asks the database, so that a logout counts at once everywhere, unless the feed of endings vouches for
a session that was asked about a moment ago (living.py).
Times are the database's, one clock for all instances.
"""

import hashlib
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from troth.access.errors import NoSession
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.access.whereabouts import whereabouts
from troth.core.db import Database
from troth.core.leader import Leader
from troth.core.secret import new_token

TOKEN_LENGTH = 43

BEGUN_FROM = "begun-from"
"""Purpose under which the whereabouts of a sign-in are sealed."""

ONE_FACTOR = "urn:troth:acr:1"
TWO_FACTORS = "urn:troth:acr:2"
ACR_VALUES = (ONE_FACTOR, TWO_FACTORS)
"""From less to more, which is also their order as text."""


_KNOWN = frozenset({"pwd", "pin"})
_HELD = frozenset({"otp", "hwk", "swk"})


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A living session. `client` and `scopes` are set when it is what a client was granted (oauth/grant.py);
    `person_scopes` is what the person may do through their roles; `profile` is sealed; `amr` is how they
    proved who they are (RFC 8176), at `authenticated_at` for the last time."""

    id: UUID
    tenant: UUID
    domain: str
    person: UUID
    profile: bytes
    person_scopes: tuple[str, ...]
    authenticated_at: datetime
    created_at: datetime
    expires_at: datetime
    amr: tuple[str, ...] = ()
    client: str | None = None
    scopes: tuple[str, ...] = ()

    @property
    def acr(self) -> str:
        """How much was proved (OpenID Connect Core section 2, RFC 9470)."""
        return acr_of(self.amr)


Key = tuple[str, bytes]
"""A domain, and the hash of a cookie or the bytes of a session's id."""


class Mark(msgspec.Struct, frozen=True):
    """What was known of endings before a question was asked."""

    leader: Leader
    heard: int


class Memory(Protocol):
    """Sessions that surely live, see living.py."""

    def vouch(self, key: Key) -> "Session | None": ...
    def mark(self) -> Mark | None: ...
    def keep(self, mark: Mark | None, key: Key, value: "Session") -> None: ...


class Begun(msgspec.Struct, frozen=True):
    """A session with the token that opens it, which is told this once."""

    session: Session
    token: str


def token_hash(token: str) -> bytes:
    """What is stored of a token: it has 256 random bits, so one SHA-256 is enough and cannot be searched."""
    return hashlib.sha256(token.encode("ascii", "replace")).digest()


def acr_of(amr: tuple[str, ...]) -> str:
    """Two factors are something known and something held; a key that verified its user is both at once."""
    proved = set(amr)
    two = proved & _HELD and (proved & _KNOWN or (proved - {"otp"} & _HELD and "user" in proved))
    return TWO_FACTORS if two else ONE_FACTOR


class Sessions:
    """Begins, opens, raises and ends sessions."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        memory: Memory | None = None,
    ) -> None:
        self._database = database
        self._memory = memory
        self._sealer = sealer

    async def begin(
        self,
        domain: Domain,
        person: UUID,
        *,
        previous: str = "",
        request: str = "",
        verified: str | None = None,
        amr: tuple[str, ...] = ("pwd",),
        agent: str = "",
        network: str = "",
    ) -> Begun:
        """A new session after a sign-in by `amr` from this User-Agent and IP address. The one that the
        browser held before ends with it, whoever had put it there (session fixation). `verified` is the hash
        that the password was checked against. Raises NoSession when the person was disabled, or the password
        changed, in the meantime."""
        token, identifier = new_token(), uuid7()
        origin = msgspec.json.encode(whereabouts(agent, network))
        sealed = await self._sealer.seal(domain.tenant_id, BEGUN_FROM, origin, identifier.bytes)
        row = await self._database.fetchrow(
            "select * from troth.begin_session($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            domain.name,
            identifier,
            token_hash(token),
            person,
            domain.policy.session_idle,
            domain.policy.session_absolute,
            list(amr),
            sealed,
            token_hash(previous) if previous else None,
            request,
            verified,
            domain.policy.sessions_most,
            idempotent=True,
        )
        return Begun(_read(row), token)

    async def raise_to(self, domain: Domain, token: str, amr: tuple[str, ...], *, request: str = "") -> Begun:
        """The same session after its person proved `amr`, which replaces what was proved before. It opens
        with another cookie from now on. Raises NoSession."""
        fresh = new_token()
        row = await self._database.fetchrow(
            "select * from troth.raise_session($1, $2, $3, $4, $5)",
            domain.name,
            token_hash(token),
            token_hash(fresh),
            list(amr),
            request,
            idempotent=True,
        )
        return Begun(_read(row), fresh)

    async def open(self, domain: Domain, token: str, *, request: str = "") -> Session:
        """The living session of a cookie on this domain. Raises NoSession.

        The cookie of another domain opens nothing and is recorded: somebody carried it here.
        """
        if not token:
            raise NoSession
        if len(token) != TOKEN_LENGTH:
            raise NoSession(clear=True, detail="malformed")
        hashed = token_hash(token)
        return await self._recall(
            (domain.name, hashed),
            "select * from troth.open_session_by_token($1, $2, $3)",
            domain.name,
            hashed,
            request,
        )

    async def open_by_id(self, domain: Domain, session: UUID) -> Session:
        """The living session, or grant of a client, that an access token names. Raises NoSession."""
        return await self._recall(
            (domain.name, session.bytes),
            "select * from troth.open_session_by_id($1, $2)",
            domain.name,
            session,
        )

    async def _recall(self, key: Key, query: str, *args: object) -> Session:
        """Without the database when it surely lives."""
        memory = self._memory
        if memory is None:
            return _read(await self._database.fetchrow(query, *args, idempotent=True))
        known = memory.vouch(key)
        if known is not None:
            return known
        mark = memory.mark()
        session = _read(await self._database.fetchrow(query, *args, idempotent=True))
        memory.keep(mark, key, session)
        return session

    async def end(self, domain: Domain, token: str, *, request: str = "") -> None:
        """Log out: the session and everything granted under it is over at the commit of this call."""
        await self._database.execute(
            "select troth.end_session($1, $2, $3)", domain.name, token_hash(token), request, idempotent=True
        )

    async def end_grant(self, domain: Domain, session: UUID, client: str, *, request: str = "") -> None:
        """Revoke what one client was granted (RFC 7009)."""
        await self._database.execute(
            "select troth.end_grant($1, $2, $3, $4)", domain.name, session, client, request, idempotent=True
        )


def _read(row: Any) -> Session:
    outcome = row["outcome"]
    if outcome != "open":
        raise NoSession(clear=True, detail=outcome)
    return Session(
        id=row["id"],
        tenant=row["tenant_id"],
        domain=row["domain"],
        person=row["person_id"],
        profile=row["profile"],
        person_scopes=tuple(row["person_scopes"]),
        authenticated_at=row["authenticated_at"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        amr=tuple(row["amr"]),
        client=row["client_id"],
        scopes=tuple(row["scopes"] or ()),
    )
