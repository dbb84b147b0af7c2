"""Signing in: the same steps and the same work whoever asks, and one answer for every way to fail."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from troth.access.accounts.limits import Limits, Try, place_of
from troth.access.accounts.passwords import Passwords, needs_upgrade
from troth.access.accounts.people import MAX_EMAIL
from troth.access.accounts.policy import MOST
from troth.access.accounts.pool import Turn
from troth.access.errors import SignInRefused, WrongPassword
from troth.access.factors.pending import FactorNeeded, PendingSignIns
from troth.access.failures import record_failure
from troth.access.sessions import Begun, Sessions
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.errors import TooMany

MAX_PASSWORD = 2 * MOST
"""Characters as they were typed. A longer one is refused before any work; no account has one."""

MOST_FROM_ONE_PLACE = 16
"""Sign-ins under way at an instance from one address: half of what fits, so that a flood from one place
leaves the other half to everybody else."""


class SignIn:
    """E-mail address and password → a session, or the state in which a second factor is asked for."""

    def __init__(
        self,
        database: Database,
        limits: Limits,
        passwords: Passwords,
        sessions: Sessions,
        pending: PendingSignIns,
    ) -> None:
        self._database = database
        self._limits = limits
        self._passwords = passwords
        self._sessions = sessions
        self._pending = pending
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
        device: str = "",
    ) -> Begun | FactorNeeded:
        """Begin a session for somebody at this IP address, with this User-Agent, or say that more is needed;
        `device` is the cookie of `devices.py`. Raises as `check` does."""
        tried, person, verified = await self._prove(
            domain, email, password, request=request, address=address, device=device
        )
        needed = await self._pending.begin(domain, person, verified, device=tried.device, request=request)
        if needed is not None:
            return needed
        return await self._sessions.begin(
            domain,
            person,
            previous=previous,
            request=request,
            verified=verified,
            agent=agent,
            network=address,
        )

    async def check(
        self,
        domain: Domain,
        email: str,
        password: str,
        *,
        request: str = "",
        address: str = "",
        device: str = "",
    ) -> UUID:
        """Whose password this is. Begins nothing. Raises SignInRefused when address and password do not
        belong together, the account is unknown or disabled; TooMany when too many are signing in at once, or
        somebody guesses."""
        _, person, _ = await self._prove(
            domain, email, password, request=request, address=address, device=device
        )
        return person

    async def _prove(
        self, domain: Domain, email: str, password: str, *, request: str, address: str, device: str
    ) -> tuple[Try, UUID, str | None]:
        # 1. Short enough to be worth any work.
        if len(email) > MAX_EMAIL or len(password) > MAX_PASSWORD:
            raise _refused()
        with self._turn(place_of(address)):
            # 2. The queue has room, and nobody is guessing. This finds the account too.
            self._passwords.require_room(Turn.KNOWN if device else Turn.STRANGER)
            tried = await self._limits.begin(domain, email, address=address, device=device)
            person, verified = await self._check(domain, tried, password, request)
            return tried, person, verified

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
        self, domain: Domain, tried: Try, password: str, request: str
    ) -> tuple[UUID, str | None]:
        """Whose password it is, and the hash that is stored of it now."""
        # 3. One hash, whether the account exists or not.
        nobody = tried.person is None
        try:
            await self._passwords.verify(password, tried.stored, nobody=nobody, turn=tried.turn)
        except WrongPassword:
            raise await self._fail(domain, tried, "password", request) from None
        # 4. A disabled account is told only after the password fitted, and looks like any failure.
        if tried.person is None or tried.disabled:
            raise await self._fail(domain, tried, "disabled", request)
        await self._limits.fitted(domain, tried)
        # 5. The password is at hand only now: bring an old hash up to date.
        return tried.person, await self._upgrade(domain, tried.person, tried.stored, password)

    async def _fail(self, domain: Domain, tried: Try, reason: str, request: str) -> SignInRefused:
        reason = reason if tried.person else "unknown"
        await record_failure(
            self._database, "sign_in.failed", domain.name, tried.person, request, reason=reason
        )
        return _refused(reason)

    async def _upgrade(self, domain: Domain, person: UUID, stored: str | None, password: str) -> str | None:
        """The hash that is stored now, unless somebody else has changed it."""
        if stored is None or not needs_upgrade(stored):
            return stored
        fresh = await self._passwords.hash(password)
        await self._database.execute(
            "select troth.upgrade_password($1, $2, $3, $4)",
            domain.name,
            person,
            stored,
            fresh,
            idempotent=True,
        )
        return fresh


def _refused(detail: str = "too long") -> SignInRefused:
    return SignInRefused("The e-mail address and password do not match.", detail=detail)
