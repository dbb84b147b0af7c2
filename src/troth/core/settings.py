"""The shape of `troth.toml`: one struct for each table. `core/config.py` reads the file into them.

`examples/residents/troth.toml` describes each key; a test holds the two together.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from troth.core.branding import DEFAULT_COLOUR
from troth.core.client_kinds import CODE_GRANT, REFRESH_GRANT, AuthMethod, ClientAlgorithm
from troth.core.logs import LogFormat
from troth.core.policy import TenantPolicy

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Instances = Annotated[int, msgspec.Meta(ge=1, le=16)]
Mebibytes = Annotated[int, msgspec.Meta(ge=128, le=1_048_576)]

ScopeText = str
"""`collection:action[:own[:fields]]`, in the grammar of `core/scope.py`."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of troth.toml: unknown keys are refused."""


class PlatformSettings(_Table, frozen=True, kw_only=True):
    """`name` is shown on the factsheet. `region` is where this machine stands: an ISO 3166 country code or a
    provider's region name."""

    name: str
    region: str


class EdgeSettings(_Table, frozen=True, kw_only=True):
    """`address` is the public address. Ports left out are 443 and 80 where allowed, else 8443 and 8080."""

    address: str = "127.0.0.1"
    https_port: Port | None = None
    http_port: Port | None = None


PrivateNetwork = Literal["auto", "namespace", "loopback"]


class NetworkSettings(_Table, frozen=True, kw_only=True):
    """`private`: whether everything but the edge's public ports stands in a network of its own. `auto`
    wherever the platform runs as root and the machine allows it; `namespace` refuses to start elsewhere."""

    private: PrivateNetwork = "auto"


class DatabaseSettings(_Table, frozen=True, kw_only=True):
    """`members` is the size of the replica set; `binaries` a folder with PostgreSQL's programs.

    `hosts` (`host:port`) name a set that runs elsewhere instead, `regions` where each of them stands, and
    `certificates` the folder with what the platform shows there.
    """

    members: Annotated[int, msgspec.Meta(ge=1, le=5)] = 3
    binaries: Path | None = None
    hosts: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    certificates: Path | None = None


class CertificateSettings(_Table, frozen=True, kw_only=True):
    """`lifetime_minutes` of the certificates between the platform's own parts."""

    lifetime_minutes: Annotated[int, msgspec.Meta(ge=1, le=60 * 24 * 30)] = 60 * 24


class AcmeSettings(_Table, frozen=True, kw_only=True):
    """An authority that certifies public names (RFC 8555): its `directory`, an e-mail address of ours, and
    whether its terms are agreed to. `ca` is what a directory of one's own is trusted by."""

    directory: str
    contact: str
    terms_agreed: bool
    ca: Path | None = None


class DnsSettings(_Table, frozen=True, kw_only=True):
    """Which name servers are asked who owns a domain; none named: those of this machine."""

    servers: tuple[str, ...] = ()
    port: Port = 53


class OutgoingSettings(_Table, frozen=True, kw_only=True):
    """What the platform itself calls at the wish of others: the addresses at which clients want to be told of
    a sign-out. `private` allows addresses that are not public; `ca` is trusted beside the system's."""

    private: bool = False
    ca: Path | None = None


def most_instances(instances: int, named: int | None) -> int:
    """What is named, or twice as many as there always are."""
    return named or min(16, 2 * instances)


class WebSettings(_Table, frozen=True, kw_only=True):
    """Troth's own web service: `instances` always, up to `max_instances` under load. `client_per_second` and
    `network_per_second` bound what one client and one network may ask of each instance; 0 for no bound."""

    instances: Instances = 2
    max_instances: Instances | None = None
    client_per_second: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 30
    network_per_second: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 300

    @property
    def most(self) -> int:
        """The most instances that load may lead to."""
        return most_instances(self.instances, self.max_instances)


class MailSettings(_Table, frozen=True, kw_only=True):
    """The relay that takes messages to people. `region` is where it stands, as of the platform; `ca` the
    authority of its certificate where the system does not know it; `password_file` is the owner's alone."""

    host: str
    port: Port = 587
    tls: Literal["starttls", "tls"] = "starttls"
    sender: str
    region: str
    ca: Path | None = None
    user: str = ""
    password_file: Path | None = None


class LoggingSettings(_Table, frozen=True, kw_only=True):
    """How the keeper, the instances and what applications print write their log lines."""

    format: LogFormat = "text"


class TracingSettings(_Table, frozen=True, kw_only=True):
    """A collector of traces (OpenTelemetry, OTLP over HTTP): its `endpoint`, an https:// address, and the
    `region` where it stands, as of the platform. Of all requests a `share` is traced. `headers_file` is the
    owner's alone and holds what the collector wants to be shown; `ca` is the authority of its certificate."""

    endpoint: str
    region: str
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    headers_file: Path | None = None
    ca: Path | None = None


class AlertTargetSettings(_Table, frozen=True, kw_only=True):
    """Whom alerts are told to: a `webhook` (an https:// address), signed with the secret in `secret_file`, or
    the address `mail`, through the relay of [mail]. `region` is where it is received, as of the platform;
    `ca` the authority of a webhook's certificate where the system does not know it. Only alerts of at least
    the severity `least` are told, once they stood for `after_minutes`, and again every `repeat_hours`."""

    webhook: str = ""
    secret_file: Path | None = None
    ca: Path | None = None
    mail: str = ""
    region: str
    least: Literal["warning", "critical"] = "warning"
    after_minutes: Annotated[int, msgspec.Meta(ge=0, le=60 * 24)] = 0
    repeat_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 7)] = 4


class AlertSettings(_Table, frozen=True, kw_only=True):
    """Who is told when something is wrong, and how often a test alert proves that it arrives."""

    test_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 7)] = 24
    targets: dict[str, AlertTargetSettings] = {}


class PasswordSettings(_Table, frozen=True, kw_only=True):
    """`breached` is a sorted file of SHA-1 hashes, as Have I Been Pwned offers it for download."""

    breached: Path | None = None


class BackupSettings(_Table, frozen=True, kw_only=True):
    """Where backups go, how often, and how long they stay.

    `store` is `s3://bucket/prefix`, `file:///folder` or `sftp://user@host:port/folder`; empty, it is a folder
    beside the state folder. `region` is where it stands, as of the platform. `endpoint` is the address of an
    S3 service other than AWS, `ca` its authority where the system does not know it, `credentials` a file that
    is its owner's alone. `bandwidth` is in bytes a second, 0 for no limit; `lock_days` asks the store to
    refuse deletion for so long (S3 object lock).
    """

    store: str = ""
    region: str = ""
    endpoint: str = ""
    ca: Path | None = None
    credentials: Path | None = None
    every_hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 31)] = 24
    incremental_minutes: Annotated[int, msgspec.Meta(ge=0, le=60 * 24 * 7)] = 60
    keep_daily: Annotated[int, msgspec.Meta(ge=1, le=366)] = 7
    keep_weekly: Annotated[int, msgspec.Meta(ge=0, le=520)] = 4
    keep_monthly: Annotated[int, msgspec.Meta(ge=0, le=240)] = 12
    keep_keys_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 30
    key_epoch_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 30
    bandwidth: Annotated[int, msgspec.Meta(ge=0, le=10**12)] = 0
    lock_days: Annotated[int, msgspec.Meta(ge=0, le=3660)] = 0


class FirewallSettings(_Table, frozen=True, kw_only=True):
    """What this machine's packet filter lets pass besides the edge and the places (`troth firewall`).

    `administrators` are the networks that may reach `ssh_port`; `time_servers` are asked for the time (NTP);
    `outgoing` (`host:port` or `network:port`) is what this machine itself fetches, such as its updates. At
    the edge one address holds at most so many `connections`; 0 is for no bound.
    """

    administrators: tuple[str, ...] = ()
    ssh_port: Port = 22
    time_servers: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    connections: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 512


class RegionSettings(_Table, frozen=True, kw_only=True):
    """A region of one's own: the ISO 3166 code of its `country`, and who says so on which ground."""

    country: str
    reason: str


class PlaceSettings(_Table, frozen=True, kw_only=True):
    """Another place that the platform or an application may connect to, and that receives data: `host` and
    `port`, the `region` where it stands, and what it is for."""

    host: str
    port: Port = 443
    region: str
    purpose: str


class AppSettings(_Table, frozen=True, kw_only=True):
    """A customer application: an ASGI callable `target` (`module:name`) in `folder`.

    There are `instances` always, up to `max_instances` under load. `public` lists path prefixes that need no
    sign-in. `health` is a path that an instance answers with 2xx while it is well. `memory_mebibytes` are the
    most that one may hold, with all that it starts.
    """

    target: str
    folder: Path
    instances: Instances = 2
    max_instances: Instances | None = None
    public: tuple[str, ...] = ()
    health: str = ""
    memory_mebibytes: Mebibytes = 1024

    @property
    def most(self) -> int:
        """The most instances that load may lead to."""
        return most_instances(self.instances, self.max_instances)


class RoleSettings(_Table, frozen=True, kw_only=True):
    """A bundle of scopes that users of a tenant are given."""

    scopes: tuple[ScopeText, ...]


class TenantSettings(_Table, frozen=True, kw_only=True):
    """A customer: its data is sealed under a key of its own. The tenant's slug is its key in the file."""

    name: str
    policy: TenantPolicy = TenantPolicy()


class BrandingSettings(_Table, frozen=True, kw_only=True):
    """`colour` is `#rrggbb`; `logo` an SVG or PNG file."""

    name: str
    colour: str = DEFAULT_COLOUR
    logo: Path | None = None


class DomainSettings(_Table, frozen=True, kw_only=True):
    """A client domain: the sign-in page, tokens and cookies of it serve this one domain alone.

    With `allow` it answers these networks alone; `deny` are networks that it never answers.
    """

    name: str
    tenant: str
    app: str
    branding: BrandingSettings
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class CollectionSettings(_Table, frozen=True, kw_only=True):
    """A collection of documents; `schema` is a JSON Schema (2020-12) file."""

    schema: Path
    title: str = ""


class ClientSettings(_Table, frozen=True, kw_only=True):
    """A third-party OAuth client of one tenant, by the names of RFC 7591 section 2 and its companions.

    A public client (`none`) has no secret and must use PKCE; a secret never stands in the file. `jwks` is a
    file with the client's public keys, `tls_client_auth_authorities` a PEM file.
    """

    name: str
    tenant: str
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[ScopeText, ...]
    token_endpoint_auth_method: AuthMethod = "none"  # noqa: S105 - a method
    token_endpoint_auth_signing_alg: ClientAlgorithm | None = None
    jwks: Path | None = None
    grant_types: tuple[str, ...] = (CODE_GRANT, REFRESH_GRANT)
    require_pkce: bool = True
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    request_object_signing_alg: ClientAlgorithm | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    tls_client_auth_authorities: Path | None = None
    tls_client_auth_subject_dn: str = ""
    tls_client_auth_san_dns: str = ""
    tls_client_auth_san_uri: str = ""
    tls_client_auth_san_ip: str = ""
    tls_client_auth_san_email: str = ""
    authorization_details_types: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    backchannel_logout_uri: str = ""
    backchannel_logout_session_required: bool = False
    allow_token_endpoint_audience: bool = False


class UserSettings(_Table, frozen=True, kw_only=True):
    """A demonstration user; its password is made at the first start."""

    email: str
    name: str
    tenant: str
    roles: tuple[str, ...]


class Document(_Table, frozen=True, kw_only=True):
    """The whole file as it stands there."""

    version: int
    platform: PlatformSettings
    edge: EdgeSettings = EdgeSettings()
    database: DatabaseSettings = DatabaseSettings()
    certificates: CertificateSettings = CertificateSettings()
    web: WebSettings = WebSettings()
    mail: MailSettings | None = None
    logging: LoggingSettings = LoggingSettings()
    tracing: TracingSettings | None = None
    alerts: AlertSettings = AlertSettings()
    passwords: PasswordSettings = PasswordSettings()
    acme: AcmeSettings | None = None
    dns: DnsSettings = DnsSettings()
    outgoing: OutgoingSettings = OutgoingSettings()
    backup: BackupSettings | None = None
    firewall: FirewallSettings = FirewallSettings()
    network: NetworkSettings = NetworkSettings()
    regions: dict[str, RegionSettings] = {}
    places: dict[str, PlaceSettings] = {}
    tenants: dict[str, TenantSettings]
    domains: tuple[DomainSettings, ...]
    apps: dict[str, AppSettings]
    roles: dict[str, RoleSettings]
    collections: dict[str, CollectionSettings]
    clients: dict[str, ClientSettings] = {}
    users: tuple[UserSettings, ...] = ()


class Settings(Document, frozen=True, kw_only=True):
    """The whole file, checked. `file` is where it was read from; relative paths are resolved against its
    folder, and domain names are in lower case and ASCII (IDNA)."""

    file: Path
