"""Back-channel logout: a client is told, server to server, that a grant of its own is over.

OpenID Connect Back-Channel Logout 1.0. What to tell stands in an outbox that is filled in the transaction of
the end (011_logout.sql); one worker delivers it, tries again for a while, and keeps what came of it.
"""

import asyncio
import ipaddress
import ssl
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import msgspec
from uuid_utils.compat import uuid7

from troth.access.signing import SigningKeys
from troth.access.tenants import Branding, Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import TrothError
from troth.core.names import origin_of

LOGOUT_TOKEN = "logout+jwt"  # noqa: S105 - a media type (section 2.4)
EVENT = "http://schemas.openid.net/event/backchannel-logout"
LIFETIME = timedelta(minutes=2)

AT_ONCE = 16
SECONDS = 5.0
"""For one delivery, from the look-up of the name to the answer."""

LEASE = timedelta(minutes=2)
MOST_ATTEMPTS = 8
_FIRST_WAIT = timedelta(seconds=5)


class Notice(msgspec.Struct, frozen=True):
    """One client to be told of the end of one grant."""

    grant: UUID
    tenant: UUID
    domain: str
    client: str
    person: UUID
    destination: str
    attempts: int


class Delivery(msgspec.Struct, frozen=True):
    """How the outside is reached. `private` allows addresses that are not public: off, for a client that
    registered itself could have us call into the private network (SSRF)."""

    context: ssl.SSLContext
    private: bool = False


class NotDelivered(Exception):
    """`again` says whether another try could help."""

    def __init__(self, outcome: str, *, again: bool) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.again = again


class LogoutNotices:
    """The worker. `database` is the operator's; keys are opened as a web instance opens them."""

    def __init__(
        self, database: Database, keys: SigningKeys, delivery: Delivery, clock: Clock, *, port: int
    ) -> None:
        self._database = database
        self._keys = keys
        self._delivery = delivery
        self._clock = clock
        self._port = port

    async def work(self) -> str:
        """One round: deliver what is due, side by side. Returns a sentence when there was something."""
        rows = await self._database.fetch(
            "select * from troth.take_logout_notices($1, $2)", AT_ONCE, LEASE, idempotent=False
        )
        notices = [_read(row) for row in rows]
        outcomes = await asyncio.gather(*(self._settle(notice) for notice in notices))
        told = sum(outcomes)
        return f"told {told} of {len(notices)} clients of a sign-out" if notices else ""

    async def _settle(self, notice: Notice) -> bool:
        try:
            await self._tell(notice)
            outcome, wait = "told", None
        except NotDelivered as failure:
            last = not failure.again or notice.attempts >= MOST_ATTEMPTS
            outcome, wait = failure.outcome, None if last else wait_before(notice.attempts)
        await self._database.execute(
            "select troth.settle_logout_notice($1, $2, $3)", notice.grant, outcome, wait, idempotent=True
        )
        return outcome == "told"

    async def _tell(self, notice: Notice) -> None:
        """Raises NotDelivered."""
        try:
            token = await self._write(notice)
        except TrothError as error:
            # One tenant's key that does not open must not keep the clients of all others from being told.
            raise NotDelivered(f"not signed: {error.public}", again=True) from error
        try:
            async with asyncio.timeout(SECONDS):
                status = await post(notice.destination, {"logout_token": token}, self._delivery)
        except (TimeoutError, OSError, httpx.HTTPError) as error:
            raise NotDelivered(f"no answer: {type(error).__name__}", again=True) from None
        if status == 400:
            raise NotDelivered("refused: 400", again=False)  # section 2.8: the token itself did not please
        if status not in (200, 202, 204):
            raise NotDelivered(f"answered {status}", again=True)

    async def _write(self, notice: Notice) -> str:
        """A logout token (section 2.4): never a nonce, so that it cannot pass for an ID token."""
        domain = Domain(
            name=notice.domain,
            tenant_id=notice.tenant,
            tenant="",
            tenant_name="",
            app="",
            branding=Branding(),
            issuer=origin_of(notice.domain, self._port),
        )
        now = int(self._clock.now().timestamp())
        claims: dict[str, object] = {
            "iss": domain.issuer,
            "aud": notice.client,
            "sub": str(notice.person),
            "sid": str(notice.grant),
            "iat": now,
            "exp": now + int(LIFETIME.total_seconds()),
            "jti": str(uuid7()),
            "events": {EVENT: {}},
        }
        return (await self._keys.ring(domain)).signer.sign(claims, LOGOUT_TOKEN)


def wait_before(attempts: int) -> timedelta:
    """5 s after the first attempt, then twice as long each time."""
    return _FIRST_WAIT * 2 ** (attempts - 1)


async def post(url: str, form: dict[str, str], delivery: Delivery) -> int:
    """The status of a POST to `url`, whose name is looked up once: what was checked is what is called (DNS
    rebinding). No redirect is followed. Raises NotDelivered, OSError or httpx.HTTPError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    if parts.scheme != "https" or not host:
        raise NotDelivered("the destination is not https", again=False)
    address = await _resolve(host, port, delivery)
    place = f"[{address}]" if ":" in address else address
    async with httpx.AsyncClient(verify=delivery.context, timeout=SECONDS, trust_env=False) as client:
        answer = await client.post(
            f"https://{place}:{port}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}",
            data=form,
            headers={"Host": parts.netloc},
            extensions={"sni_hostname": host},
        )
    return answer.status_code


async def _resolve(host: str, port: int, delivery: Delivery) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=0, proto=6)
    addresses = [str(entry[4][0]) for entry in found]
    if not delivery.private and not all(is_public(address) for address in addresses):
        raise NotDelivered("the destination is not a public address", again=False)
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether this IP address may be called for somebody else."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


def _read(row: Any) -> Notice:
    return Notice(
        row["grant_id"],
        row["tenant_id"],
        row["domain"],
        row["client_id"],
        row["person_id"],
        row["destination"],
        row["attempts"],
    )
