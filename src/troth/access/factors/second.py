"""From a pending sign-in to its session, and from a living session to a raised one, by any factor."""

from typing import Any
from uuid import UUID

import msgspec

from troth.access.errors import FactorNotChanged, FactorRefused, NoSession, TooManyTries
from troth.access.factors.apps import AuthenticatorApps
from troth.access.factors.passkeys import SECOND, STEP_UP, Passkeys
from troth.access.factors.pending import Pending, PendingSignIns
from troth.access.factors.recovery import RecoveryCodes
from troth.access.failures import record_failure
from troth.access.sessions import Begun, Session, Sessions, token_hash
from troth.access.tenants import Domain
from troth.core.db import Database

OTP = ("otp",)
RECOVERY = ("otp", "recovery")
"""RFC 8176 has no name for a recovery code; it is a one-time password of a kind."""


class Origin(msgspec.Struct, frozen=True):
    """Where a sign-in comes from: its request, the session the browser had, its User-Agent and address."""

    request: str = ""
    previous: str = ""
    agent: str = ""
    network: str = ""


class SecondFactor:
    """Finishes pending sign-ins. Each method raises NoSession when the sign-in is over, FactorRefused when
    what was shown does not fit, TooManyTries when somebody guesses."""

    def __init__(
        self,
        database: Database,
        pending: PendingSignIns,
        sessions: Sessions,
        apps: AuthenticatorApps,
        passkeys: Passkeys,
        codes: RecoveryCodes,
    ) -> None:
        self._database = database
        self._pending = pending
        self._sessions = sessions
        self._apps = apps
        self._passkeys = passkeys
        self._codes = codes

    async def by_app(self, domain: Domain, token: str, code: str, origin: Origin) -> Begun:
        """With a code of the authenticator app."""
        guess = await self._pending.guess(domain, token, request=origin.request)
        person = guess.pending.person
        async with self._failure(domain, person, "app", origin.request):
            await self._apps.accept(domain, person, guess.secret, guess.last_step, code)
        return await self._begin(domain, token, OTP, origin)

    async def by_recovery_code(self, domain: Domain, token: str, code: str, origin: Origin) -> Begun:
        """With a recovery code."""
        person = (await self._pending.guess(domain, token, request=origin.request)).pending.person
        async with self._failure(domain, person, "recovery code", origin.request):
            await self._codes.accept(domain, person, code, request=origin.request)
        return await self._begin(domain, token, RECOVERY, origin)

    async def by_passkey(self, domain: Domain, token: str, answer: str, origin: Origin) -> Begun:
        """With a passkey of this domain. It cannot be guessed, so no try is counted."""
        pending = await self._pending.open(domain, token)
        async with self._failure(domain, pending.person, "passkey", origin.request):
            proof = await self._passkeys.prove(
                domain,
                SECOND,
                answer,
                subject=token_hash(token),
                person=pending.person,
                request=origin.request,
            )
        return await self._begin(domain, token, proof.amr, origin)

    async def by_new_app(self, domain: Domain, token: str, setup: str, code: str, origin: Origin) -> Begun:
        """With an app that is set up now, because the tenant requires a factor and there was none."""
        guess = await self._pending.guess(domain, token, request=origin.request)
        pending = _enrolling(guess.pending)
        async with self._failure(domain, pending.person, "app", origin.request):
            await self._apps.confirm(domain, pending.person, setup, code, request=origin.request)
        return await self._begin(domain, token, OTP, origin)

    async def by_new_passkey(
        self, domain: Domain, token: str, answer: str, name: str, origin: Origin
    ) -> Begun:
        """With a passkey that is made now, for the same reason."""
        pending = _enrolling(await self._pending.open(domain, token))
        async with self._failure(domain, pending.person, "passkey", origin.request):
            amr = await self._passkeys.add(
                domain, pending.person, token_hash(token), answer, name, request=origin.request
            )
        return await self._begin(domain, token, amr, origin)

    def _failure(self, domain: Domain, person: UUID, way: str, request: str) -> "Failures":
        return Failures(self._database, domain, person, way, request)

    async def _begin(self, domain: Domain, token: str, amr: tuple[str, ...], origin: Origin) -> Begun:
        """The factor fitted. A pending sign-in that somebody else finished in the meantime begins nothing."""
        taken = await self._pending.take(domain, token)
        return await self._sessions.begin(
            domain,
            taken.person,
            previous=origin.previous,
            request=origin.request,
            verified=taken.verified,
            amr=(*taken.amr, *amr),
            agent=origin.agent,
            network=origin.network,
        )


class StepUp:
    """Asks the person of a living session again. Whoever has another factor than the password shows that one:
    a password alone must not make an old second factor look fresh.

    What is proved is added to what the session proved before. So two factors mean that both were proved in
    this session, the newer one at `authenticated_at`.
    """

    def __init__(
        self, database: Database, sessions: Sessions, apps: AuthenticatorApps, passkeys: Passkeys
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._apps = apps
        self._passkeys = passkeys

    async def has_factor(self, domain: Domain, session: Session) -> bool:
        """Whether the password alone does not do."""
        return _has_factor(await self._show(domain, session))

    async def by_password(self, domain: Domain, token: str, session: Session, *, request: str = "") -> Begun:
        """The caller has checked the password and that it is this person's. Raises FactorRefused when the
        person has a stronger factor."""
        if await self.has_factor(domain, session):
            raise FactorRefused("Use your second factor.", detail="password is not enough")
        return await self._raise(domain, token, session, ("pwd",), request)

    async def by_app(
        self,
        domain: Domain,
        token: str,
        session: Session,
        code: str,
        *,
        device: bytes | None = None,
        request: str = "",
    ) -> Begun:
        """With a code of the authenticator app. Raises FactorRefused, TooManyTries, NoSession."""
        row = await self._database.fetchrow(
            "select * from troth.try_factor($1, $2, $3)",
            domain.name,
            session.person,
            device,
            idempotent=False,
        )
        assert row is not None, "the function returns one row"
        if row["wait"] > 0:
            raise TooManyTries("Too many tries. Wait a moment and try again.", retry_after=row["wait"])
        async with Failures(self._database, domain, session.person, "app", request):
            await self._apps.accept(domain, session.person, row["secret"], row["last_step"] or 0, code)
        return await self._raise(domain, token, session, OTP, request)

    async def by_passkey(
        self, domain: Domain, token: str, session: Session, answer: str, *, request: str = ""
    ) -> Begun:
        """With a passkey of this domain. Raises FactorRefused, NoSession."""
        async with Failures(self._database, domain, session.person, "passkey", request):
            proof = await self._passkeys.prove(
                domain,
                STEP_UP,
                answer,
                subject=session.id.bytes,
                person=session.person,
                request=request,
            )
        return await self._raise(domain, token, session, proof.amr, request)

    async def by_new_app(
        self, domain: Domain, token: str, session: Session, setup: str, code: str, *, request: str = ""
    ) -> Begun:
        """With an app that is set up now, because something asks for two factors and there was one. The
        caller has checked that the session is fresh. Raises FactorRefused, FactorNotChanged, NoSession."""
        await self._may_enrol(domain, session)
        async with Failures(self._database, domain, session.person, "app", request):
            await self._apps.confirm(domain, session.person, setup, code, request=request)
        return await self._raise(domain, token, session, OTP, request)

    async def by_new_passkey(
        self, domain: Domain, token: str, session: Session, answer: str, name: str, *, request: str = ""
    ) -> Begun:
        """With a passkey that is made now, for the same reason."""
        await self._may_enrol(domain, session)
        async with Failures(self._database, domain, session.person, "passkey", request):
            amr = await self._passkeys.add(
                domain, session.person, session.id.bytes, answer, name, request=request
            )
        return await self._raise(domain, token, session, amr, request)

    async def _may_enrol(self, domain: Domain, session: Session) -> None:
        """Only who has no factor: else the password alone would add a key to an account that two protect."""
        row = await self._show(domain, session)
        if row["policy"] == "off":
            raise FactorNotChanged("unknown")
        if _has_factor(row):
            raise FactorNotChanged("taken")

    async def _show(self, domain: Domain, session: Session) -> Any:
        row = await self._database.fetchrow(
            "select * from troth.show_factors($1, $2)", domain.name, session.person
        )
        assert row is not None, "the function returns one row"
        return row

    async def _raise(
        self, domain: Domain, token: str, session: Session, amr: tuple[str, ...], request: str
    ) -> Begun:
        together = tuple(dict.fromkeys((*session.amr, *amr)))
        return await self._sessions.raise_to(domain, token, together, request=request)


class Failures:
    """Records what is refused inside the block."""

    def __init__(self, database: Database, domain: Domain, person: UUID, way: str, request: str) -> None:
        self._database = database
        self._arguments = (domain.name, person, request)
        self._way = way

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FactorRefused):
            await record_failure(self._database, "factor.failed", *self._arguments, way=self._way)


def _has_factor(row: Any) -> bool:
    return row["app_since"] is not None or row["passkeys"] != "[]"


def _enrolling(pending: Pending) -> Pending:
    """Only who has no factor may make one before the session: else the password alone would add a key."""
    if not pending.enrols or pending.app or pending.passkeys or pending.elsewhere:
        raise NoSession(detail="nothing to enrol")
    return pending
