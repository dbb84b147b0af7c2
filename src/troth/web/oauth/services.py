"""What the authorization server's routes ask for."""

from collections.abc import Mapping
from typing import Protocol

from troth.access.accounts.people import Accounts
from troth.access.authenticator import Authenticator
from troth.access.dpop import Proofs
from troth.access.oauth.client_authentication import ClientAuthentication
from troth.access.oauth.clients import Clients
from troth.access.oauth.decision import Decisions
from troth.access.oauth.device_codes import DeviceCodes
from troth.access.oauth.interactions import Interactions
from troth.access.oauth.introspection import Introspection
from troth.access.oauth.logout import Logouts
from troth.access.oauth.pushed import PushedRequests
from troth.access.oauth.registrations import Registrations
from troth.access.oauth.revocation import Revocation
from troth.access.oauth.sender import Senders
from troth.access.oauth.token_endpoint import TokenEndpoint
from troth.access.sessions import Sessions
from troth.access.signing import SigningKeys
from troth.access.tenants import DomainDirectory
from troth.access.tokens import AccessTokens
from troth.core.clock import Clock
from troth.web.pages import Pages


class OAuthServices(Protocol):
    """What these routes need. `collection_titles` says how people call each collection."""

    @property
    def directory(self) -> DomainDirectory: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def clients(self) -> Clients: ...
    @property
    def client_authentication(self) -> ClientAuthentication: ...
    @property
    def registrations(self) -> Registrations: ...
    @property
    def pushed_requests(self) -> PushedRequests: ...
    @property
    def decisions(self) -> Decisions: ...
    @property
    def token_endpoint(self) -> TokenEndpoint: ...
    @property
    def revocation(self) -> Revocation: ...
    @property
    def introspection(self) -> Introspection: ...
    @property
    def device_codes(self) -> DeviceCodes: ...
    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def proofs(self) -> Proofs: ...
    @property
    def senders(self) -> Senders: ...
    @property
    def interactions(self) -> Interactions: ...
    @property
    def keys(self) -> SigningKeys: ...
    @property
    def tokens(self) -> AccessTokens: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def logouts(self) -> Logouts: ...
    @property
    def pages(self) -> Pages: ...
    @property
    def collection_titles(self) -> Mapping[str, str]: ...
