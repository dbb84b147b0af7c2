"""What an OAuth client is registered with, and what of it is sound: for troth.toml, for the operator, and for
clients that register themselves.

The names are those of RFC 7591 section 2 and its companions (RFC 8705, 9101, 9126, 9396, 9449, OpenID
Connect's logout).
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from troth.core.client_certificates import normalise_subject, read_authorities
from troth.core.client_kinds import (
    CODE_GRANT,
    DEVICE_GRANT,
    GRANT_TYPES,
    REFRESH_GRANT,
    AuthMethod,
    ClientAlgorithm,
)
from troth.core.files import read_up_to
from troth.core.jose_clients import ClientKeys, read_client_keys
from troth.core.redirects import check_redirect
from troth.core.settings import ClientSettings

MAX_URIS = 20
MAX_URI = 2000
_TYPE = re.compile(r"[!-~]{1,100}", re.ASCII)


class Registration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Kept as JSON: members only grow at the end, each with a default.

    `jwks` are public keys, kept here because nothing is fetched from an address of a client's; those of
    `self_signed_tls_client_auth` carry their certificate's thumbprint. `tls_client_auth_authorities` (DER in
    base64) are who may vouch for this one client, and `allow_token_endpoint_audience` is explained in
    access/oauth/assertions.py; both are the operator's to give.
    """

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


_MOST_BYTES = 256 * 1024


class RegistrationFault(ValueError):
    """What is wrong with one member, in a sentence; `place` is where in a list."""

    def __init__(self, member: str, sentence: str, place: int | None = None) -> None:
        super().__init__(sentence)
        self.member = member
        self.sentence = sentence
        self.place = place


Faults = Iterator[RegistrationFault]


def registration_faults(registration: Registration, redirects: tuple[str, ...]) -> list[RegistrationFault]:
    """Everything that is wrong with a registration; nothing when it is sound."""
    return [
        *_redirect_faults(registration, redirects),
        *(fault for check in _CHECKS for fault in check(registration)),
    ]


def uri_faults(member: str, uris: Iterable[str]) -> Faults:
    """What is wrong with addresses that a person's browser is sent to."""
    listed = list(uris)
    if len(listed) > MAX_URIS or len(set(listed)) != len(listed):
        yield RegistrationFault(member, f"There are at most {MAX_URIS} addresses, each once.")
    for place, uri in enumerate(listed[:MAX_URIS]):
        try:
            if len(uri) > MAX_URI:
                raise ValueError(f"An address has at most {MAX_URI} characters.")
            check_redirect(uri)
        except ValueError as error:
            yield RegistrationFault(member, str(error), place)


def _redirect_faults(registration: Registration, redirect_uris: tuple[str, ...]) -> Faults:
    if CODE_GRANT in registration.grant_types and not redirect_uris:
        yield RegistrationFault("redirect_uris", "There is no redirect URI.")
    yield from uri_faults("redirect_uris", redirect_uris)


def _grant_faults(registration: Registration) -> Faults:
    kinds = registration.grant_types
    if unknown := sorted(set(kinds) - set(GRANT_TYPES)):
        # A token exists only under a person's session: no password, implicit or client_credentials grant.
        yield RegistrationFault("grant_types", f"There is no grant type “{unknown[0][:60]}” here.")
    elif not {CODE_GRANT, DEVICE_GRANT} & set(kinds):
        yield RegistrationFault("grant_types", f"A client begins with {CODE_GRANT} or {DEVICE_GRANT}.")


def _method_faults(registration: Registration) -> Faults:
    method = registration.token_endpoint_auth_method
    if method == "private_key_jwt":
        yield from _signing_faults(registration, "token_endpoint_auth_signing_alg")
    elif method == "self_signed_tls_client_auth":
        if not registration.jwks or not all("x5t#S256" in key for key in registration.jwks):
            yield RegistrationFault("jwks", "Each key of this client needs its certificate (x5c).")
    elif method == "tls_client_auth":
        yield from _name_faults(registration)
    if method == "none" and not registration.require_pkce:
        yield RegistrationFault("require_pkce", "A client without a secret of its own needs PKCE.")


def _signing_faults(registration: Registration, member: str) -> Faults:
    algorithm: ClientAlgorithm | None = getattr(registration, member)
    if algorithm is None:
        yield RegistrationFault(member, "Name the one algorithm that this client signs with.")
    elif not ClientKeys(registration.jwks, algorithm).usable:
        yield RegistrationFault("jwks", f"There is no key for {algorithm}.")


def _name_faults(registration: Registration) -> Faults:
    member = "tls_client_auth_subject_dn"
    subject, address = registration.tls_client_auth_subject_dn, registration.tls_client_auth_san_ip
    names = (
        subject,
        address,
        registration.tls_client_auth_san_dns,
        registration.tls_client_auth_san_uri,
        registration.tls_client_auth_san_email,
    )
    if len([name for name in names if name]) != 1:
        yield RegistrationFault(member, "Register exactly one name of the client's certificate.")
    if not registration.tls_client_auth_authorities:
        yield RegistrationFault("tls_client_auth_authorities", "Name the authority that vouches for it.")
    try:
        _ = normalise_subject(subject) if subject else None
        _ = ipaddress.ip_address(address) if address else None
        for authority in registration.tls_client_auth_authorities:
            base64.b64decode(authority, validate=True)
    except (ValueError, binascii.Error):
        yield RegistrationFault(member, "The name is no RFC 4514 subject or no IP address.")


def _request_faults(registration: Registration) -> Faults:
    if registration.request_object_signing_alg is not None:
        yield from _signing_faults(registration, "request_object_signing_alg")
    elif registration.require_signed_request_object:
        yield RegistrationFault("request_object_signing_alg", "Name the algorithm of the signed requests.")


def _logout_faults(registration: Registration) -> Faults:
    yield from uri_faults("post_logout_redirect_uris", registration.post_logout_redirect_uris)
    for member in ("backchannel_logout_uri", "client_uri"):
        uri: str = getattr(registration, member)
        if uri and not _is_https(uri):
            yield RegistrationFault(member, "This address is https, with a host and without a fragment.")


def _type_faults(registration: Registration) -> Faults:
    kinds = registration.authorization_details_types
    if len(kinds) > MAX_URIS or not all(_TYPE.fullmatch(kind) for kind in kinds):
        yield RegistrationFault("authorization_details_types", "A type is a short word without spaces.")


_CHECKS: tuple[Callable[[Registration], Faults], ...] = (
    _grant_faults,
    _method_faults,
    _request_faults,
    _logout_faults,
    _type_faults,
)


def _is_https(uri: str) -> bool:
    try:
        check_redirect(uri)
    except ValueError:
        return False
    return len(uri) <= MAX_URI and urlsplit(uri).scheme == "https"


def read_keys(document: object) -> tuple[dict[str, str], ...]:
    """The keys of a JWK set (RFC 7517 section 5) as they are kept. Raises RegistrationFault."""
    try:
        keys = msgspec.convert(document, _KeySet, strict=True).keys
        return read_client_keys(keys)
    except msgspec.ValidationError:
        raise RegistrationFault("jwks", "Write the keys as a JWK set, {“keys”: [ … ]}.") from None
    except ValueError as error:
        raise RegistrationFault("jwks", str(error)) from None


class _KeySet(msgspec.Struct, frozen=True):
    keys: tuple[dict[str, object], ...]


def declared_registration(settings: ClientSettings) -> Registration:
    """The registration of a client that troth.toml declares; its key and authority files are read. Raises
    RegistrationFault."""
    members = {
        name: getattr(settings, name)
        for name in Registration.__struct_fields__
        if name not in ("jwks", "client_uri", "tls_client_auth_authorities")
    }
    return Registration(
        **members,
        jwks=_read_key_file(settings.jwks) if settings.jwks else (),
        tls_client_auth_authorities=_read_authority_file(settings.tls_client_auth_authorities)
        if settings.tls_client_auth_authorities
        else (),
    )


def _read_key_file(file: Path) -> tuple[dict[str, str], ...]:
    try:
        document = msgspec.json.decode(_read_file(file))
    except (OSError, ValueError) as error:
        raise RegistrationFault("jwks", f"The file {file} cannot be read: {_why(error)}.") from None
    return read_keys(document)


def _read_authority_file(file: Path) -> tuple[str, ...]:
    try:
        return read_authorities(_read_file(file))
    except (OSError, ValueError) as error:
        raise RegistrationFault("tls_client_auth_authorities", f"{file}: {_why(error)}") from None


def _read_file(file: Path) -> bytes:
    content = read_up_to(file, _MOST_BYTES)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES // 1024} KiB")
    return content


def _why(error: OSError | ValueError) -> str:
    return str((isinstance(error, OSError) and error.strerror) or error)
