"""A tenant with people, roles, a client and a domain, over the real database and real sealing."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from support.postgres import Tenant, new_tenant
from troth.access.accounts.devices import Devices
from troth.access.accounts.letters import Letters
from troth.access.accounts.limits import Limits
from troth.access.accounts.links import Links
from troth.access.accounts.notices import Notices
from troth.access.accounts.passwords import Passwords
from troth.access.accounts.people import Accounts, Profile
from troth.access.accounts.policy import PasswordPolicy
from troth.access.accounts.signin import SignIn
from troth.access.administered_clients import AdministeredClients
from troth.access.administered_domains import AdministeredDomains
from troth.access.administered_settings import AdministeredSettings
from troth.access.administration import Administration
from troth.access.administrator import Guard
from troth.access.authenticator import Authenticator
from troth.access.dpop import Proofs
from troth.access.factors.apps import AuthenticatorApps
from troth.access.factors.challenges import Challenges
from troth.access.factors.overview import Factors
from troth.access.factors.passkeys import Passkeys
from troth.access.factors.pending import FactorNeeded, PendingSignIns
from troth.access.factors.recovery import RecoveryCodes
from troth.access.factors.second import SecondFactor, StepUp
from troth.access.oauth.client_authentication import ClientAuthentication
from troth.access.oauth.clients import Clients
from troth.access.oauth.decision import Decisions
from troth.access.oauth.device_codes import DeviceCodes
from troth.access.oauth.id_token import IdTokens
from troth.access.oauth.interactions import Interactions
from troth.access.oauth.introspection import Introspection
from troth.access.oauth.logout import Logouts
from troth.access.oauth.pushed import PushedRequests
from troth.access.oauth.refresh_tokens import RefreshTokens
from troth.access.oauth.registrations import Registrations
from troth.access.oauth.revocation import Revocation
from troth.access.oauth.sender import Senders
from troth.access.oauth.token_endpoint import TokenEndpoint
from troth.access.own_sessions import OwnSessions
from troth.access.ownership import NameServers
from troth.access.sessions import Begun, Sessions
from troth.access.signing import SigningKeys
from troth.access.tenants import Domain, DomainDirectory
from troth.access.tokens import AccessTokens
from troth.core.db import Database
from troth.core.secret import Secret
from troth.data.keys import KeyRing, Sealer

PASSWORD = "correct horse battery staple"
EMAIL = "anna.weber@lindenhof.example"
NAME = "Anna Wéber"

RESIDENT = ["tickets:create", "tickets:read:own", "tickets:update:own:title,text", "announcements:read"]
CLIENT_SCOPES = ["openid", "profile", "email", "tickets:read", "announcements:read"]
CALLBACK = "https://ledger.example/callback"

PORT = 8443


class HeldClock:
    """A clock that stands where a test puts it."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, **span: float) -> None:
        self._now += timedelta(**span)


class RunningClock(HeldClock):
    """The time, for tests in which software that has a clock of its own takes part."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Access:
    """Everything that access needs, composed as wiring does it."""

    def __init__(
        self,
        database: Database,
        owner: Database,
        auditor: Database,
        *,
        clock: HeldClock | None = None,
        root: Secret | None = None,
    ) -> None:
        self.database = database
        self.owner = owner
        self.auditor = auditor
        self.clock = clock or HeldClock()
        self.ring = KeyRing(database, root or Secret(secrets.token_bytes(32)))
        self.sealer = Sealer(self.ring)
        self.directory = DomainDirectory(database, self.clock, port=PORT)
        self.passwords = Passwords(threads=2, waiting=32)
        self.accounts = Accounts(database, self.sealer)
        self.registrar = Accounts(owner, self.sealer)
        self.sessions = Sessions(database, self.sealer)
        self.devices = Devices(self.sealer, self.clock)
        self.limits = Limits(database, self.sealer, self.devices)
        self.letters = Letters(database, self.sealer, self.limits)
        self.links = Links(
            database,
            self.accounts,
            self.sealer,
            self.passwords,
            PasswordPolicy(),
            self.limits,
            notify=True,
        )
        self.mail = True
        self.notices = Notices(database, mail=True)
        self.own_sessions = OwnSessions(database, self.sealer, self.clock)
        self.pending_sign_ins = PendingSignIns(database)
        self.factors = Factors(database)
        self.apps = AuthenticatorApps(database, self.sealer, self.clock)
        self.passkeys = Passkeys(database, Challenges(self.sealer, self.clock))
        self.recovery_codes = RecoveryCodes(database)
        self.second_factor = SecondFactor(
            database, self.pending_sign_ins, self.sessions, self.apps, self.passkeys, self.recovery_codes
        )
        self.step_up = StepUp(database, self.sessions, self.apps, self.passkeys)
        self.sign_in = SignIn(database, self.limits, self.passwords, self.sessions, self.pending_sign_ins)
        self.keys = SigningKeys(database, self.sealer, self.clock)
        self.tokens = AccessTokens(self.keys, self.clock)
        self.refresh_tokens = RefreshTokens(self.sealer)
        self.proofs = Proofs(database, self.sealer, self.clock)
        self.senders = Senders(self.proofs)
        self.authenticator = Authenticator(self.directory, self.tokens, self.proofs)
        guard = Guard(database)
        self.administration = Administration(guard, self.accounts, mail=self.mail)
        self.administered_clients = AdministeredClients(guard)
        # Nobody answers there: a test that asks brings a name server.
        self.administered_domains = AdministeredDomains(guard, NameServers(("127.0.0.1",), 9))
        self.administered_settings = AdministeredSettings(guard)
        self.clients = Clients(database)
        self.client_authentication = ClientAuthentication(database, self.clients, self.clock)
        self.pushed_requests = PushedRequests(database, self.sealer, self.clock)
        self.registrations = Registrations(database)
        self.interactions = Interactions(self.keys, self.clock)
        self.logouts = Logouts(database, self.clients, self.keys, self.clock)
        self.decisions = Decisions(database)
        self.token_endpoint = TokenEndpoint(
            database,
            self.senders,
            self.refresh_tokens,
            self.tokens,
            IdTokens(self.keys, self.clock),
            self.clock,
        )
        self.revocation = Revocation(self.sessions, self.tokens, self.refresh_tokens)
        self.device_codes = DeviceCodes(database, self.sealer)
        self.introspection = Introspection(
            database, self.sessions, self.tokens, self.refresh_tokens, self.keys, self.clock
        )
        self.public_paths = {"app": ("/assets/",)}

    async def events(self, domain: str) -> list[str]:
        """The audit events of a domain, oldest first."""
        rows = await self.auditor.fetch(
            "select event from troth.audit_event where domain = $1 order by at", domain
        )
        return [row["event"] for row in rows]


class House(msgspec.Struct, frozen=True):
    """One tenant with one domain and one person in it."""

    access: Access
    tenant: Tenant
    domain: Domain
    person: UUID

    async def begin(self) -> Begun:
        """A session of the person, without the cost of a password."""
        return await self.access.sessions.begin(self.domain, self.person)


async def furnish(access: Access) -> House:
    """A fresh tenant: role `resident`, client `ledger`, and Anna, who is a resident."""
    tenant = await new_tenant(access.owner)
    async with access.owner.transaction() as connection:
        await connection.execute("select set_config('troth.tenant', $1, true)", str(tenant.id))
        await connection.execute(
            "insert into troth.role (tenant_id, name, scopes) values ($1, 'resident', $2)",
            tenant.id,
            RESIDENT,
        )
        await connection.execute(
            "insert into troth.client (tenant_id, id, name, redirect_uris, scopes)"
            " values ($1, 'ledger', 'Ledger accounting', $2, $3), ($1, 'other', 'Other', $2, $3)",
            tenant.id,
            [CALLBACK, "http://127.0.0.1/callback"],
            CLIENT_SCOPES,
        )
    domain = await access.directory.find(tenant.domain)
    person = await access.registrar.add(
        tenant.id, Profile(EMAIL, NAME), ("resident",), await password_hash(access)
    )
    return House(access, tenant, domain, person)


async def sign_in(house: House, email: str = EMAIL, password: str = PASSWORD, **rest: str) -> Begun:
    """A session by the password alone."""
    begun = await house.access.sign_in.sign_in(house.domain, email, password, **rest)
    assert not isinstance(begun, FactorNeeded)
    return begun


_hashes: list[str] = []


async def password_hash(access: Access) -> str:
    """The hash of PASSWORD, made once."""
    if not _hashes:
        _hashes.append(await access.passwords.hash(PASSWORD))
    return _hashes[0]
