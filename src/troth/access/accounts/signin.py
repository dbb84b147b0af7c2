"""Signing in: the same steps and the same work whoever asks, and one answer for every way to fail."""

import ipaddress
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from troth.access.accounts.passwords import Passwords, needs_upgrade
from troth.access.accounts.people import MAX_EMAIL, Accounts, Candidate
from troth.access.errors import SignInRefused, WrongPassword
from troth.access.sessions import Begun, Sessions
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.errors import TooMany

MAX_PASSWORD = 128
"""Characters. A longer one is refused before any work; no account has one."""

MOST_FROM_ONE_PLACE = 16
"""Sign-ins under way at an instance from one address: half of what fits, so that a flood from one place
leaves the other half to everybody else."""


class SignIn:
    """E-mail address and password → a session."""

    def __init__(
        self, database: Database, accounts: Accounts, passwords: Passwords, sessions: Sessions
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._passwords = passwords
        self._sessions = sessions
        self._under_way: Counter[str] = Counter()

    async def sign_in(
        self,
        domain: Domain,
        email: str,
        password: str,
        *,
        previous: str = "",
        request: str = "",
        address: str = "",
        agent: str = "",
    ) -> Begun:
        """Begin a session for somebody at this IP address, with this User-Agent. Raises SignInRefused when
        address and password do not belong together, the account is unknown or disabled; TooMany when too many
        are signing in at once."""
        # 1. Short enough to be worth any work.
        if len(email) > MAX_EMAIL or len(password) > MAX_PASSWORD:
            raise _refused()
        with self._turn(place_of(address)):
            candidate, verified = await self._check(domain, email, password, request)
            return await self._sessions.begin(
                domain,
                candidate.id,
                previous=previous,
                request=request,
                verified=verified,
                agent=agent,
                network=address,
            )

    @contextmanager
    def _turn(self, place: str) -> Generator[None]:
        """Holds one of the places that this part of the network may take up at once."""
        if self._under_way[place] >= MOST_FROM_ONE_PLACE:
            raise TooMany("Many people are signing in right now. Try again in a moment.", retry_after=2)
        self._under_way[place] += 1
        try:
            yield
        finally:
            self._under_way[place] -= 1
            if not self._under_way[place]:
                del self._under_way[place]

    async def _check(
        self, domain: Domain, email: str, password: str, request: str
    ) -> tuple[Candidate, str | None]:
        """Whose password it is, and the hash that is stored of it now."""
        self._passwords.require_room()
        # 2. One look-up and one hash, whether the account exists or not.
        candidate = await self._accounts.find(domain.name, domain.tenant_id, email)
        try:
            await self._passwords.verify(password, candidate and candidate.password_hash)
        except WrongPassword:
            raise await self._fail(domain, candidate, "password", request) from None
        # 3. A disabled account is told only after the password fitted, and looks like any failure.
        if candidate is None or candidate.disabled:
            raise await self._fail(domain, candidate, "disabled", request)
        # 4. The password is at hand only now: bring an old hash up to date.
        return candidate, await self._upgrade(domain, candidate, password)

    async def _fail(
        self, domain: Domain, candidate: Candidate | None, reason: str, request: str
    ) -> SignInRefused:
        person: UUID | None = candidate.id if candidate else None
        reason = reason if candidate else "unknown"
        await self._database.execute(
            "select troth.record_failed_sign_in($1, $2, $3, $4)", domain.name, person, request, reason
        )
        return _refused(reason)

    async def _upgrade(self, domain: Domain, candidate: Candidate, password: str) -> str | None:
        """The hash that is stored now, unless somebody else has changed it."""
        stored = candidate.password_hash
        if stored is None or not needs_upgrade(stored):
            return stored
        fresh = await self._passwords.hash(password)
        await self._database.execute(
            "select troth.upgrade_password($1, $2, $3, $4)", domain.name, candidate.id, stored, fresh
        )
        return fresh


def place_of(address: str) -> str:
    """An IPv4 address itself, an IPv6 address without its last 64 bits: those its holder chooses freely."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))


def _refused(detail: str = "too long") -> SignInRefused:
    return SignInRefused("The e-mail address and password do not match.", detail=detail)
