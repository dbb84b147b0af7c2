"""Sending what was asked for: one worker in the keeper takes orders, looks up whose they are, and writes.

The token of a link is made when its message is written and lies nowhere but in the message; the database
holds its SHA-256. A message that the relay does not take is tried again, ever more rarely, for a day.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from troth.access.accounts.letters import MAIL, Wanted
from troth.access.accounts.mail import Mailer, NotSent
from troth.access.accounts.messages import write_letter
from troth.access.accounts.people import PROFILE, Accounts, Profile
from troth.access.accounts.registration import admits
from troth.access.ports import Sealer
from troth.access.sessions import token_hash
from troth.access.tenants import Domain, DomainDirectory
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.errors import NotFound
from troth.core.secret import new_token

LIVES = {
    "reset": timedelta(minutes=30),
    "registration": timedelta(days=1),
    "verification": timedelta(days=1),
    "email_change": timedelta(hours=1),
    "invitation": timedelta(days=7),
}
"""How long a link is good, by kind; the letters say it too."""

PATHS = {
    "reset": "/account/reset",
    "registration": "/account/registration",
    "verification": "/account/verify",
    "email_change": "/account/verify",
    "invitation": "/account/invitation",
}

LEADS = {
    "factor_added": "/account/security",
    "factor_removed": "/account/security",
    "recovery_code_used": "/account/security",
    "new_device": "/account/sessions",
}
"""Where a notice leads: to a page that asks who it is, so nothing secret is in its link."""

LINK = "link"
"""Purpose under which a registration lies sealed until its link is used."""

AT_ONCE = 20
LEASE = timedelta(minutes=10)
MOST_FAULTS = 5
"""Of an order that cannot be read, say. The duty shows each as a trouble."""
GIVEN_UP_AFTER = timedelta(days=1)
_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=1)


class Nobody(Exception):
    """The order leads to no message; the reason is kept with it."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A row of troth.mail_order."""

    id: UUID
    tenant: UUID
    domain: str
    kind: str
    language: str
    person: UUID | None
    payload: bytes | None
    created_at: datetime
    attempts: int


class Outbox:
    """The worker. `database` is the operator's, for links are made with its rights alone."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        sealer: Sealer,
        directory: DomainDirectory,
        mailer: Mailer,
        clock: Clock,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._sealer = sealer
        self._directory = directory
        self._mailer = mailer
        self._clock = clock

    async def work(self) -> str:
        """Send what is due, at most some at once; returns a sentence for the log, without addresses."""
        rows = await self._database.fetch(
            "select * from troth.take_mail($1, $2)", AT_ONCE, LEASE, idempotent=False
        )
        outcomes: list[str] = []
        faults: list[Exception] = []
        for order in map(_read, rows):
            try:
                outcomes.append(await self._carry_out(order))
            except Exception as error:  # noqa: BLE001  one order must not keep the others back
                faults.append(error)
                if order.attempts >= MOST_FAULTS:
                    await self._finish(order, f"failed: {type(error).__name__}")
        if faults:
            raise faults[0]
        told = {one: outcomes.count(one) for one in sorted(set(outcomes))}
        return ", ".join(f"{count} × {outcome}" for outcome, count in told.items())

    async def _carry_out(self, order: Order) -> str:
        try:
            await self._send(order)
        except Nobody as reason:
            return await self._finish(order, str(reason))
        except NotFound:
            return await self._finish(order, "the domain is not served any more")
        except NotSent as error:
            old = self._clock.now() - order.created_at > GIVEN_UP_AFTER
            if error.lasting or old:
                return await self._finish(order, error.public)
            wait = min(_FIRST_WAIT * 2 ** min(order.attempts - 1, 10), _LONGEST_WAIT)
            await self._database.execute(
                "select troth.postpone_mail($1, $2, $3)", order.id, error.public, wait, idempotent=True
            )
            return f"waits: {error.public}"
        return await self._finish(order, "sent")

    async def _finish(self, order: Order, outcome: str) -> str:
        await self._database.execute("select troth.finish_mail($1, $2)", order.id, outcome, idempotent=True)
        return outcome

    async def _send(self, order: Order) -> None:
        domain = await self._directory.find(order.domain)
        match order.kind:
            case "reset":
                await self._reset(order, domain)
            case "registration":
                await self._registration(order, domain)
            case "email_change":
                await self._email_change(order, domain)
            case "verification" | "invitation":
                person, profile = await self._person(order)
                await self._write(order, domain, profile, await self._link(order, domain, profile, person))
            case "email_changed":
                await self._write(order, domain, await self._former(order))
            case _:
                link = f"{domain.issuer}{LEADS[order.kind]}" if order.kind in LEADS else ""
                await self._write(order, domain, (await self._person(order))[1], link)

    async def _reset(self, order: Order, domain: Domain) -> None:
        if order.person is not None:  # the operator named them
            found = await self._person(order)
        else:
            found = await self._owner_of(order, domain, (await self._wanted(order)).email)
        if found is None:
            raise Nobody("nobody has this address")
        person, profile = found
        # To the address that is stored, never to the one that was typed: two addresses may fold into one.
        await self._write(order, domain, profile, await self._link(order, domain, profile, person))

    async def _registration(self, order: Order, domain: Domain) -> None:
        wanted = await self._wanted(order)
        found = await self._owner_of(order, domain, wanted.email)
        if found is not None:
            await self._write(order, domain, found[1], kind="already_registered")
            return
        if not admits(domain.policy, wanted.email):
            raise Nobody("registration is closed")
        profile = Profile(wanted.email, wanted.name)
        token = new_token()
        sealed = await self._sealer.seal(order.tenant, LINK, msgspec.json.encode(profile), token_hash(token))
        link = await self._link(order, domain, profile, None, token, sealed)
        await self._write(order, domain, profile, link)

    async def _email_change(self, order: Order, domain: Domain) -> None:
        person, profile = await self._person(order)
        wanted = await self._wanted(order)
        if await self._owner_of(order, domain, wanted.email) is not None:
            raise Nobody("the address belongs to an account")
        changed = Profile(wanted.email, profile.name)
        sealed = await self._sealer.seal(order.tenant, PROFILE, msgspec.json.encode(changed), person.bytes)
        link = await self._link(order, domain, changed, person, new_token(), sealed)
        await self._write(order, domain, changed, link)

    async def _write(
        self, order: Order, domain: Domain, profile: Profile, link: str = "", *, kind: str = ""
    ) -> None:
        written = write_letter(kind or order.kind, order.language, domain, name=profile.name, link=link)
        await self._mailer.send(domain, order.id, profile.email, written)

    async def _link(
        self,
        order: Order,
        domain: Domain,
        profile: Profile,
        person: UUID | None,
        token: str = "",
        payload: bytes | None = None,
    ) -> str:
        return await make_link(
            self._database,
            self._accounts,
            domain,
            order.kind,
            profile,
            person=person,
            token=token,
            payload=payload,
        )

    async def _owner_of(self, order: Order, domain: Domain, email: str) -> tuple[UUID, Profile] | None:
        candidate = await self._accounts.find(domain.name, order.tenant, email)
        if candidate is None:
            return None
        if candidate.disabled:
            raise Nobody("the account is disabled")
        return candidate.id, await self._accounts.profile_of(order.tenant, candidate.id)

    async def _person(self, order: Order) -> tuple[UUID, Profile]:
        if order.person is None:
            raise Nobody("nobody was named")
        return order.person, await self._accounts.profile_of(order.tenant, order.person)

    async def _wanted(self, order: Order) -> Wanted:
        if order.payload is None:
            raise Nobody("nobody was named")
        opened = await self._sealer.open(order.tenant, MAIL, order.payload, order.id.bytes)
        return msgspec.json.decode(opened, type=Wanted)

    async def _former(self, order: Order) -> Profile:
        if order.person is None or order.payload is None:
            raise Nobody("nobody was named")
        return await self._accounts.profile(order.tenant, order.person, order.payload)


async def make_link(
    database: Database,
    accounts: Accounts,
    domain: Domain,
    kind: str,
    profile: Profile,
    *,
    person: UUID | None,
    token: str = "",
    payload: bytes | None = None,
) -> str:
    """A new link; earlier ones of its kind for this address are useless from now on."""
    token = token or new_token()
    await database.execute(
        "select troth.make_link($1, $2, $3, $4, $5, $6, $7, $8)",
        domain.tenant_id,
        domain.name,
        kind,
        person,
        await accounts.index(domain.tenant_id, profile.email),
        payload,
        token_hash(token),
        LIVES[kind],
        idempotent=True,
    )
    return f"{domain.issuer}{PATHS[kind]}?token={token}"


def _read(row: Any) -> Order:
    return Order(
        id=UUID(bytes=row["id"].bytes),
        tenant=row["tenant_id"],
        domain=row["domain"],
        kind=row["kind"],
        language=row["language"],
        person=row["person_id"],
        payload=row["payload"],
        created_at=row["created_at"],
        attempts=row["attempts"],
    )
