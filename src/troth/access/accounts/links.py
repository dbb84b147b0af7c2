"""What a link in a message is good for: once, for a short while, on its own domain, and by a form alone.

Following it changes nothing, for programs that look for viruses in mail follow every link.
"""

import asyncio
from typing import ClassVar, Literal

import msgspec
from uuid_utils.compat import uuid7

from troth.access.accounts.limits import Limits
from troth.access.accounts.outbox import LINK
from troth.access.accounts.passwords import Passwords
from troth.access.accounts.people import PROFILE, Accounts, Profile
from troth.access.accounts.policy import PasswordPolicy
from troth.access.accounts.pool import Turn
from troth.access.errors import LinkRefused, WrongPassword
from troth.access.ports import Sealer
from troth.access.sessions import TOKEN_LENGTH, Session, token_hash
from troth.access.tenants import Domain
from troth.core.db import Database

Kind = Literal["reset", "registration", "verification", "email_change", "invitation"]


class Link(msgspec.Struct, frozen=True):
    """A link that is good now. `profile` is whose it is, or will be."""

    kind: Kind
    profile: Profile


class Links:
    """Shows and uses links. `notify` says whether messages are sent here."""

    _OF_PASSWORDS: ClassVar[tuple[Kind, ...]] = ("reset", "invitation")

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        sealer: Sealer,
        passwords: Passwords,
        policy: PasswordPolicy,
        limits: Limits,
        *,
        notify: bool,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._sealer = sealer
        self._passwords = passwords
        self._policy = policy
        self._limits = limits
        self._notify = notify

    async def find(self, domain: Domain, token: str, *kinds: Kind) -> Link:
        """What a link is good for. Raises LinkRefused, whatever the reason."""
        if len(token) != TOKEN_LENGTH:
            raise LinkRefused("malformed")
        hashed = token_hash(token)
        row = await self._database.fetchrow("select * from troth.find_link($1, $2)", domain.name, hashed)
        if row is None or row["kind"] not in kinds:
            raise LinkRefused("unknown, used, too old, or for something else")
        purpose, context = (LINK, hashed) if row["person_id"] is None else (PROFILE, row["person_id"].bytes)
        opened = await self._sealer.open(domain.tenant_id, purpose, row["profile"], context)
        return Link(row["kind"], msgspec.json.decode(opened, type=Profile))

    async def set_password(
        self, domain: Domain, token: str, password: str, *, language: str, request: str = ""
    ) -> Profile:
        """A new password by the link of a reset or an invitation; every session is over. Raises LinkRefused
        and PasswordNotAccepted: the link then stays good."""
        link = await self.find(domain, token, *self._OF_PASSWORDS)
        hashed = await self._hash(domain, link.profile, password)
        person = await self._database.fetchval(
            "select troth.reset_password($1, $2, $3, $4, $5)",
            domain.name,
            token_hash(token),
            hashed,
            language if self._notify else None,
            request,
            idempotent=False,
        )
        if person is None:
            raise LinkRefused("used meanwhile")
        return link.profile

    async def register(self, domain: Domain, token: str, password: str, *, request: str = "") -> Profile:
        """A new person, whose address the link has confirmed. Raises LinkRefused and PasswordNotAccepted."""
        link = await self.find(domain, token, "registration")
        hashed = await self._hash(domain, link.profile, password)
        person = uuid7()
        content = msgspec.json.encode(link.profile)
        made = await self._database.fetchval(
            "select troth.register_person($1, $2, $3, $4, $5, $6)",
            domain.name,
            token_hash(token),
            person,
            await self._sealer.seal(domain.tenant_id, PROFILE, content, person.bytes),
            hashed,
            request,
            idempotent=False,
        )
        if made is None:
            raise LinkRefused("used meanwhile, or registration is closed")
        return link.profile

    async def confirm(self, domain: Domain, token: str, *, language: str, request: str = "") -> Link:
        """Confirm an address, or a new one. Raises LinkRefused."""
        link = await self.find(domain, token, "verification", "email_change")
        person = await self._database.fetchval(
            "select troth.confirm_email($1, $2, $3, $4)",
            domain.name,
            token_hash(token),
            language if self._notify else None,
            request,
            idempotent=False,
        )
        if person is None:
            raise LinkRefused("used meanwhile, or somebody else has the address")
        return link

    async def change_password(
        self,
        domain: Domain,
        session: Session,
        token: str,
        old: str,
        new: str,
        *,
        language: str,
        address: str = "",
        device: str = "",
        request: str = "",
    ) -> str:
        """A new password for who is signed in with this cookie and knows the old one; every session is over.
        Returns the hash that is stored now. Raises WrongPassword, TooManyTries and PasswordNotAccepted."""
        profile = await self._accounts.profile(session.tenant, session.person, session.profile)
        stored = await self.require_password(domain, session, old, address=address, device=device)
        hashed = await self._hash(domain, profile, new)
        changed = await self._database.fetchval(
            "select troth.change_password($1, $2, $3, $4, $5, $6)",
            domain.name,
            token_hash(token),
            stored,
            hashed,
            language if self._notify else None,
            request,
            idempotent=False,
        )
        if not changed:
            raise WrongPassword
        return hashed

    async def require_password(
        self, domain: Domain, session: Session, password: str, *, address: str = "", device: str = ""
    ) -> str:
        """The hash that the password of who is signed in fits. It counts like a sign-in: a stolen session
        must not be a way to guess it. Raises WrongPassword and TooManyTries."""
        profile = await self._accounts.profile(session.tenant, session.person, session.profile)
        tried = await self._limits.begin(domain, profile.email, address=address, device=device)
        nobody = tried.person != session.person or tried.disabled
        await self._passwords.verify(password, tried.stored, nobody=nobody, turn=Turn.KNOWN)
        await self._limits.fitted(domain, tried)
        assert tried.stored is not None, "no password fits nobody's hash"
        return tried.stored

    async def _hash(self, domain: Domain, profile: Profile, password: str) -> str:
        about = (profile.name, profile.email, domain.name, domain.tenant_name, domain.branding.name)
        # The list of breached passwords is a file: it is read in a thread.
        await asyncio.to_thread(self._policy.check, password, about)
        return await self._passwords.hash(password)
