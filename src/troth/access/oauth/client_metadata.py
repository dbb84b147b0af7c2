"""What a client says of itself when it registers (RFC 7591 section 2), read strictly: what we do not do is
refused, what we have never heard of is ignored."""

from collections.abc import Mapping
from typing import Any

import msgspec

from troth.access.errors import (
    InvalidClientMetadata,
    InvalidRedirectUri,
    OAuthError,
    UnapprovedSoftwareStatement,
)
from troth.access.oauth.clients import CODE_GRANT, Registration
from troth.access.scopes import OPENID, ScopeSet, covers, scope_set
from troth.core.client_kinds import ClientAlgorithm
from troth.core.registration import RegistrationFault, read_keys, registration_faults

MAX_NAME = 120

_ONLY: dict[str, object] = {
    "subject_type": "public",
    "id_token_signed_response_alg": "ES256",
    "response_types": ["code"],
    "authorization_signed_response_alg": None,
}
"""Members that may stand there with this value alone."""

_NOT_DONE = (
    "jwks_uri",
    "sector_identifier_uri",
    "request_uris",
    "userinfo_signed_response_alg",
    "userinfo_encrypted_response_alg",
    "id_token_encrypted_response_alg",
    "request_object_encryption_alg",
    "introspection_signed_response_alg",
    "frontchannel_logout_uri",
)
_THE_OPERATORS = ("backchannel_logout_uri", "tls_client_auth_authorities", "allow_token_endpoint_audience")
"""Where we send requests to, and whom we believe, no stranger decides."""

_ASCII = str.maketrans({"“": "'", "”": "'", "…": "...", "’": "'", '"': "'"})


class _Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The members that say something here, with the defaults of RFC 7591 section 2."""

    redirect_uris: tuple[str, ...] = ()
    token_endpoint_auth_method: str = "client_secret_basic"  # noqa: S105 - a method
    token_endpoint_auth_signing_alg: str | None = None
    grant_types: tuple[str, ...] = (CODE_GRANT,)
    client_name: str = ""
    client_uri: str = ""
    scope: str = ""
    jwks: dict[str, Any] | None = None
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    request_object_signing_alg: str | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    authorization_details_types: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()


class Metadata(msgspec.Struct, frozen=True):
    """Sound metadata."""

    name: str
    redirect_uris: tuple[str, ...]
    scopes: ScopeSet
    registration: Registration


def read_metadata(document: Mapping[str, object], ceiling: ScopeSet) -> Metadata:
    """Check what a client sent; `ceiling` is the most it may get. Raises OAuthError with the first fault."""
    # 1. Nothing that we would have to believe, fetch or do, and do not.
    members = {name: value for name, value in document.items() if value is not None}
    if "software_statement" in members:
        raise UnapprovedSoftwareStatement("no software statement is trusted here")
    _check_what_we_do(members)
    # 2. Every member is of its kind.
    try:
        sent = msgspec.convert(members, _Sent, strict=True)
        registration = _registration(sent)
    except msgspec.ValidationError as error:
        raise InvalidClientMetadata(_plain(str(error))) from None
    except RegistrationFault as fault:
        raise _refusal(fault) from None
    # 3. They fit together.
    for fault in registration_faults(registration, sent.redirect_uris):
        raise _refusal(fault)
    # 4. It asks for no more than it was invited to.
    name = sent.client_name.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidClientMetadata(f"client_name: it has at most {MAX_NAME} visible characters")
    return Metadata(name, sent.redirect_uris, _scopes(sent.scope, ceiling), registration)


def as_document(metadata: Metadata) -> dict[str, object]:
    """The metadata as a client reads it back (RFC 7591 section 3.2.1)."""
    members: dict[str, object] = msgspec.to_builtins(metadata.registration)
    keys = members.pop("jwks", None)
    shown: dict[str, object] = {
        "client_name": metadata.name,
        "redirect_uris": list(metadata.redirect_uris),
        "scope": str(metadata.scopes),
        "token_endpoint_auth_method": metadata.registration.token_endpoint_auth_method,
        "grant_types": list(metadata.registration.grant_types),
        "response_types": ["code"],
        **members,
    }
    return {**shown, "jwks": {"keys": keys}} if keys else shown


def _check_what_we_do(members: Mapping[str, object]) -> None:
    for name in _NOT_DONE:
        if name in members:
            why = "keys stand in jwks, nothing is fetched" if name == "jwks_uri" else "this is not done here"
            raise InvalidClientMetadata(f"{name}: {why}")
    for name in _THE_OPERATORS:
        if name in members:
            raise InvalidClientMetadata(f"{name}: this is the operator's to set")
    for name, value in _ONLY.items():
        if name in members and members[name] != value:
            raise InvalidClientMetadata(f"{name}: another value is not supported here")
    if members.get("token_endpoint_auth_method") == "tls_client_auth":
        raise InvalidClientMetadata("token_endpoint_auth_method: this one is the operator's to register")


def _registration(sent: _Sent) -> Registration:
    keys = read_keys(sent.jwks) if sent.jwks is not None else ()
    members = msgspec.structs.asdict(sent)
    for name in ("redirect_uris", "client_name", "scope", "jwks"):
        del members[name]
    if sent.token_endpoint_auth_method == "private_key_jwt" and not sent.token_endpoint_auth_signing_alg:  # noqa: S105
        members["token_endpoint_auth_signing_alg"] = _algorithm_of(keys)
    return msgspec.convert({**members, "jwks": keys}, Registration, strict=True)


def _algorithm_of(keys: tuple[dict[str, str], ...]) -> ClientAlgorithm | str | None:
    """What the keys can only mean, when no algorithm was named; RSA could mean two."""
    kinds = {key.get("alg") or {"EC": "ES256", "OKP": "Ed25519"}.get(key["kty"]) for key in keys}
    return kinds.pop() if len(kinds) == 1 else None


def _scopes(text: str, ceiling: ScopeSet) -> ScopeSet:
    if not text:
        return ceiling
    try:
        asked = scope_set(text.split())
    except ValueError:
        raise InvalidClientMetadata("scope: one of these is not known here") from None
    # `openid` needs no registration: it tells nothing but that the same person is back.
    beyond = msgspec.structs.replace(asked, identity=tuple(name for name in asked.identity if name != OPENID))
    if not covers(ceiling, beyond):
        raise InvalidClientMetadata("scope: this is more than the invitation allows")
    return asked


def _refusal(fault: RegistrationFault) -> OAuthError:
    kind = InvalidRedirectUri if fault.member == "redirect_uris" else InvalidClientMetadata
    return kind(_plain(f"{fault.member}: {fault.sentence}"))


def _plain(sentence: str) -> str:
    """For `error_description`, which knows no quotation marks of any kind (RFC 6749 section 5.2)."""
    return sentence.translate(_ASCII).encode("ascii", "replace").decode().replace("\\", "/")[:300]
