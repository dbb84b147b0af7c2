"""Authenticator apps of people: set up by a code, their keys sealed, each code accepted once."""

from datetime import timedelta
from uuid import UUID

import msgspec

from troth.access.accounts.recipes import decode, encode
from troth.access.errors import FactorNotChanged, FactorRefused
from troth.access.factors import totp
from troth.access.ports import Sealer
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import TrothError

APP = "authenticator-app"
"""Purpose under which keys are sealed."""

SETUP = "authenticator-setup"
"""Purpose under which a key travels that was shown and not confirmed yet."""

SETUP_LIFETIME = timedelta(minutes=15)


class Setup(msgspec.Struct, frozen=True):
    """A key for an app, as the person's page shows it. `sealed` brings it back with the confirming code."""

    key: str
    uri: str
    sealed: str


class AuthenticatorApps:
    """Sets apps up and accepts their codes."""

    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock

    async def prepare(self, domain: Domain, person: UUID, account: str, *, again: str = "") -> Setup:
        """A new key, or that of the setup that is shown `again` after a code that did not fit."""
        key = (await self._open(domain, person, again) if again else None) or totp.new_key()
        until = int((self._clock.now() + SETUP_LIFETIME).timestamp())
        sealed = await self._sealer.seal(
            domain.tenant_id, SETUP, until.to_bytes(8, "big") + key, person.bytes
        )
        uri = totp.key_uri(key, issuer=domain.branding.name or domain.name, account=account)
        return Setup(totp.key_text(key), uri, encode(sealed))

    async def confirm(
        self, domain: Domain, person: UUID, setup: str, code: str, *, request: str = ""
    ) -> None:
        """Keep the key, once a code shows that the app has it. Raises FactorRefused when the code does not
        fit or the setup took too long, FactorNotChanged when there is an app already."""
        key = await self._open(domain, person, setup)
        if key is None:
            raise FactorRefused("This took too long. Start again.", detail="setup")
        step = totp.matching_step(key, code, now=self._clock.now(), after=0)
        if step is None:
            raise FactorRefused("The code does not fit.", detail="setup code")
        sealed = await self._sealer.seal(domain.tenant_id, APP, key, person.bytes)
        added = await self._database.fetchval(
            "select troth.add_app($1, $2, $3, $4, $5)",
            domain.name,
            person,
            sealed,
            step,
            request,
            idempotent=True,
        )
        if not added:
            raise FactorNotChanged("taken")

    async def accept(
        self, domain: Domain, person: UUID, sealed: bytes | None, last_step: int, code: str
    ) -> None:
        """Use a code up. Raises FactorRefused when it does not fit, or was used before."""
        if sealed is None:
            raise FactorRefused("The code does not fit.", detail="no app")
        key = await self._sealer.open(domain.tenant_id, APP, sealed, person.bytes)
        step = totp.matching_step(key, code, now=self._clock.now(), after=last_step)
        if step is None or not await self._database.fetchval(
            "select troth.use_code($1, $2, $3)", domain.name, person, step, idempotent=False
        ):
            raise FactorRefused("The code does not fit.", detail="app code")

    async def _open(self, domain: Domain, person: UUID, setup: str) -> bytes | None:
        """The key of a setup; None when it is somebody else's, changed, or too old."""
        try:
            raw = await self._sealer.open(domain.tenant_id, SETUP, decode(setup[:1000]), person.bytes)
        except (ValueError, TrothError):
            return None
        until, key = int.from_bytes(raw[:8], "big"), raw[8:]
        return key if self._clock.now().timestamp() < until else None
