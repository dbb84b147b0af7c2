"""Signing in: the same steps and the same work whoever asks, and one answer for every way to fail."""

from uuid import UUID

from troth.access.accounts import MAX_EMAIL, Accounts, Candidate
from troth.access.errors import SignInRefused, WrongPassword
from troth.access.passwords import Passwords, needs_upgrade
from troth.access.sessions import Begun, Sessions
from troth.access.tenants import Domain
from troth.core.db import Database

MAX_PASSWORD = 128
"""Characters. A longer one is refused before any work; no account has one."""


class SignIn:
    """E-mail address and password → a session."""

    def __init__(
        self, database: Database, accounts: Accounts, passwords: Passwords, sessions: Sessions
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._passwords = passwords
        self._sessions = sessions

    async def sign_in(
        self, domain: Domain, email: str, password: str, *, previous: str = "", request: str = ""
    ) -> Begun:
        """Begin a session. Raises SignInRefused when address and password do not belong together, the
        account is unknown or disabled; TooMany when too many are signing in at once."""
        # 1. Short enough to be worth any work.
        if len(email) > MAX_EMAIL or len(password) > MAX_PASSWORD:
            raise _refused()
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
        verified = await self._upgrade(domain, candidate, password)
        return await self._sessions.begin(
            domain, candidate.id, previous=previous, request=request, verified=verified
        )

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


def _refused(detail: str = "too long") -> SignInRefused:
    return SignInRefused("The e-mail address and password do not match.", detail=detail)
