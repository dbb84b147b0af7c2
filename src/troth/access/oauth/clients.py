"""Clients: the applications that ask for tokens, each registered for one tenant with what it may do."""

import re
from typing import Literal, get_args

import msgspec

from troth.access.scopes import ScopeSet, scope_set
from troth.access.tenants import Domain
from troth.core.db import Database
from troth.core.jose_clients import ClientAlgorithm

MAX_CLIENT_ID = 100

AuthMethod = Literal[
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
]
"""How a client proves who it is (RFC 7591 section 2, OpenID Connect Core section 9, RFC 8705 section 2)."""

METHODS: tuple[AuthMethod, ...] = get_args(AuthMethod)

CODE_GRANT = "authorization_code"
REFRESH_GRANT = "refresh_token"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = (CODE_GRANT, REFRESH_GRANT, DEVICE_GRANT)

_LOOPBACK = re.compile(
    r"(?P<host>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>\d{1,5}))?(?P<rest>(?:/[^\s#\\]*)?)", re.ASCII
)


class Registration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client was registered with, by the names of RFC 7591 section 2 and its companions (RFC 8705,
    9101, 9126, 9396, 9449, OpenID Connect's logout). Kept as JSON: members only grow at the end, each with a
    default. `jwks` are public keys, kept here because nothing is fetched from an address of a client's;
    those of `self_signed_tls_client_auth` carry their certificate's thumbprint.
    `tls_client_auth_authorities` (DER in base64) are who may vouch for this one client, and
    `allow_token_endpoint_audience` is explained in assertions.py; both are the operator's to give."""

    token_endpoint_auth_method: AuthMethod = "none"  # noqa: S105 - a method
    token_endpoint_auth_signing_alg: ClientAlgorithm | None = None
    jwks: tuple[dict[str, str], ...] = ()
    grant_types: tuple[str, ...] = (CODE_GRANT, REFRESH_GRANT)
    require_pkce: bool = True
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    request_object_signing_alg: ClientAlgorithm | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    tls_client_auth_subject_dn: str = ""
    tls_client_auth_san_dns: str = ""
    tls_client_auth_san_uri: str = ""
    tls_client_auth_san_ip: str = ""
    tls_client_auth_san_email: str = ""
    authorization_details_types: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str = ""
    backchannel_logout_session_required: bool = False
    client_uri: str = ""
    allow_token_endpoint_audience: bool = False
    tls_client_auth_authorities: tuple[str, ...] = ()


class Client(Registration, frozen=True):
    """A registered client. `scopes` is the most it may ever get; `secret_hashes` are the SHA-256 of the
    secrets that are good now."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: ScopeSet
    secret_hashes: tuple[bytes, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether anybody can call himself this client: PKCE then takes the place of a secret."""
        return self.token_endpoint_auth_method == "none"  # noqa: S105 - a method

    @property
    def needs_pkce(self) -> bool:
        """Only a client that proves who it is can do without (RFC 9700 section 2.1.1)."""
        return self.require_pkce or self.is_public

    def accepts_redirect(self, uri: str) -> bool:
        """Whether a response may be sent there: an exact match, save the port of a loopback address."""
        return any(_same_redirect(registered, uri) for registered in self.redirect_uris)

    def may_use(self, grant_type: str) -> bool:
        """Whether the client was registered for this grant (RFC 7591 section 2, `grant_types`)."""
        return grant_type in self.grant_types


class Clients:
    """Looks clients up in the domain's tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, domain: Domain, client: str) -> Client | None:
        """The client, or None when the tenant has none of this id, or it was disabled."""
        if not client or len(client) > MAX_CLIENT_ID or not client.isascii() or not client.isprintable():
            return None
        row = await self._database.fetchrow("select * from troth.find_client($1, $2)", domain.name, client)
        if row is None:
            return None
        registration = msgspec.json.decode(row["registration"], type=Registration)
        return Client(
            row["id"],
            row["name"],
            tuple(row["redirect_uris"]),
            scope_set(row["scopes"]),
            tuple(row["secret_hashes"]),
            **msgspec.structs.asdict(registration),
        )


def may_be_anybodys(redirect_uri: str) -> bool:
    """Whether any program on the person's machine could listen there and call itself this client."""
    return _loopback_without_port(redirect_uri) is not None


def _same_redirect(registered: str, uri: str) -> bool:
    # A pattern or prefix match is how codes are stolen (RFC 9700 section 4.1): compare the text itself.
    if registered == uri:
        return True
    loopback = _loopback_without_port(registered)
    return loopback is not None and loopback == _loopback_without_port(uri)


def _loopback_without_port(uri: str) -> str | None:
    """A native application listens wherever a port is free (RFC 8252 section 7.3); all else has to match."""
    match = _LOOPBACK.fullmatch(uri)
    if match is None or int(match["port"] or 80) > 65_535:
        return None
    return match["host"] + match["rest"]
