"""What an instance of the web service is made of."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from troth import VERSION
from troth.access.accounts.devices import Devices
from troth.access.accounts.letters import Letters
from troth.access.accounts.limits import Limits
from troth.access.accounts.links import Links
from troth.access.accounts.notices import Notices
from troth.access.accounts.passwords import Passwords
from troth.access.accounts.people import Accounts
from troth.access.accounts.policy import BreachedPasswords, PasswordPolicy
from troth.access.accounts.signin import SignIn
from troth.access.administered_clients import AdministeredClients
from troth.access.administered_domains import AdministeredDomains
from troth.access.administered_settings import AdministeredSettings
from troth.access.administration import Administration
from troth.access.administrator import Guard
from troth.access.authenticator import Authenticator
from troth.access.dpop import Proofs
from troth.access.endings import Feed
from troth.access.explain import Denials
from troth.access.factors.apps import AuthenticatorApps
from troth.access.factors.challenges import Challenges
from troth.access.factors.overview import Factors
from troth.access.factors.passkeys import Passkeys
from troth.access.factors.pending import PendingSignIns
from troth.access.factors.recovery import RecoveryCodes
from troth.access.factors.second import SecondFactor, StepUp
from troth.access.living import LivingSessions, Remembered
from troth.access.oauth.client_authentication import ClientAuthentication
from troth.access.oauth.clients import Clients, Known, changes
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
from troth.access.openapi import describe_access
from troth.access.own_sessions import OwnSessions
from troth.access.ownership import NameServers
from troth.access.sessions import Sessions
from troth.access.signing import SigningKeys
from troth.access.tenants import DomainDirectory
from troth.access.tokens import AccessTokens
from troth.core.clock import Clock, SystemClock
from troth.core.db import Database
from troth.core.errors import PlatformError
from troth.data.collections import Collections, compile_collection, load_collections
from troth.data.documents import Documents
from troth.data.epochs import open_epochs
from troth.data.keys import KeyRing, Sealer
from troth.data.openapi import write_api
from troth.hosting.wire import decode
from troth.wiring.blueprint import WebConfiguration
from troth.wiring.declaration import CANARIES

_CANARY_SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 200}},
    "required": ["text"],
    "additionalProperties": False,
}


class WebServices(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the routes of `web` ask for, by the names that they ask for it."""

    database: Database
    clock: Clock
    directory: DomainDirectory
    feed: Feed
    sessions: Sessions
    own_sessions: OwnSessions
    accounts: Accounts
    devices: Devices
    limits: Limits
    pending_sign_ins: PendingSignIns
    factors: Factors
    apps: AuthenticatorApps
    passkeys: Passkeys
    recovery_codes: RecoveryCodes
    second_factor: SecondFactor
    step_up: StepUp
    letters: Letters
    links: Links
    mail: bool
    notices: Notices
    sign_in: SignIn
    clients: Clients
    client_authentication: ClientAuthentication
    pushed_requests: PushedRequests
    registrations: Registrations
    interactions: Interactions
    logouts: Logouts
    decisions: Decisions
    token_endpoint: TokenEndpoint
    revocation: Revocation
    introspection: Introspection
    device_codes: DeviceCodes
    proofs: Proofs
    senders: Senders
    keys: SigningKeys
    tokens: AccessTokens
    authenticator: Authenticator
    administration: Administration
    administered_clients: AdministeredClients
    administered_domains: AdministeredDomains
    administered_settings: AdministeredSettings
    denials: Denials
    documents: Documents
    openapi: bytes
    collection_titles: Mapping[str, str]
    public_paths: Mapping[str, tuple[str, ...]]


def read_web_configuration() -> WebConfiguration:
    """The configuration named by TROTH_WEB. Raises PlatformError when there is none."""
    named = os.environ.get("TROTH_WEB")
    if not named:
        raise PlatformError("TROTH_WEB names no file: the keeper starts this process, see `troth up`.")
    return decode(Path(named).read_bytes(), WebConfiguration)


@asynccontextmanager
async def open_services(configuration: WebConfiguration) -> AsyncGenerator[WebServices]:
    """The services of one instance, closed at the end of the block."""
    database = await Database.open(configuration.database, max_size=configuration.connections)
    passwords, feed = Passwords(), Feed(configuration.database, database.follow)
    try:
        async with feed.listening():
            yield compose(configuration, database, passwords, SystemClock(), feed)
    finally:
        passwords.close()
        await asyncio.shield(database.close())


def compose(
    configuration: WebConfiguration, database: Database, passwords: Passwords, clock: Clock, feed: Feed
) -> WebServices:
    """Put the services together. Raises PlatformError when the root key cannot be read."""
    declared = load_collections(configuration.collections)
    ring = KeyRing(database, open_epochs(configuration.root_key))
    sealer = Sealer(ring)
    directory = DomainDirectory(database, clock, port=configuration.https_port)
    sessions = Sessions(database, sealer, memory=LivingSessions(database, feed, clock))
    accounts = Accounts(database, sealer)
    devices = Devices(sealer, clock)
    limits = Limits(database, sealer, devices)
    pending = PendingSignIns(database)
    apps = AuthenticatorApps(database, sealer, clock)
    passkeys = Passkeys(database, Challenges(sealer, clock))
    codes = RecoveryCodes(database)
    breached = configuration.breached
    policy = PasswordPolicy(BreachedPasswords(breached) if breached else None)
    known: Remembered[tuple[str, str], Known] = Remembered(database, feed, clock, changes)
    clients = Clients(database, known)
    keys = SigningKeys(database, sealer, clock)
    tokens, refresh_tokens = AccessTokens(keys, clock), RefreshTokens(sealer)
    proofs = Proofs(database, sealer, clock)
    senders, guard = Senders(proofs), Guard(database)
    name_servers = NameServers(configuration.name_servers, configuration.name_server_port)
    return WebServices(
        database=database,
        clock=clock,
        directory=directory,
        feed=feed,
        sessions=sessions,
        own_sessions=OwnSessions(database, sealer, clock),
        accounts=accounts,
        devices=devices,
        limits=limits,
        pending_sign_ins=pending,
        factors=Factors(database),
        apps=apps,
        passkeys=passkeys,
        recovery_codes=codes,
        second_factor=SecondFactor(database, pending, sessions, apps, passkeys, codes),
        step_up=StepUp(database, sessions, apps, passkeys),
        sign_in=SignIn(database, limits, passwords, sessions, pending),
        letters=Letters(database, sealer, limits),
        links=Links(database, accounts, sealer, passwords, policy, limits, notify=configuration.mail),
        mail=configuration.mail,
        notices=Notices(database, mail=configuration.mail),
        clients=clients,
        client_authentication=ClientAuthentication(database, clients, clock),
        pushed_requests=PushedRequests(database, sealer, clock),
        registrations=Registrations(database),
        interactions=Interactions(keys, clock),
        logouts=Logouts(database, clients, keys, clock),
        decisions=Decisions(database),
        token_endpoint=TokenEndpoint(database, senders, refresh_tokens, tokens, IdTokens(keys, clock), clock),
        revocation=Revocation(sessions, tokens, refresh_tokens),
        introspection=Introspection(database, sessions, tokens, refresh_tokens, keys, clock),
        device_codes=DeviceCodes(database, sealer),
        proofs=proofs,
        senders=senders,
        keys=keys,
        tokens=tokens,
        authenticator=Authenticator(directory, tokens, proofs),
        administration=Administration(guard, accounts, mail=configuration.mail),
        administered_clients=AdministeredClients(guard),
        administered_domains=AdministeredDomains(guard, name_servers),
        administered_settings=AdministeredSettings(guard),
        denials=Denials(directory, sessions, clients),
        documents=Documents(database, ring, with_canaries(declared)),
        openapi=write_api(declared, title=configuration.platform, version=VERSION, beside=describe_access()),
        collection_titles={one.name: one.title for one in declared.values()},
        public_paths=configuration.public,
    )


def with_canaries(declared: Collections) -> Collections:
    """The declared collections and the probes' own."""
    return {**declared, CANARIES: compile_collection(CANARIES, "Canaries", _CANARY_SCHEMA)}
