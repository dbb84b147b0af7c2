"""The authorization endpoint: one ordered list of small checks (RFC 6749, 7636, 9207, 9700, OpenID Connect).

An error is sent to a redirect URI only after the client and that URI are both established: before, it could
be anybody's (open redirector, RFC 9700 section 4.11).
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol
from urllib.parse import urlencode

import msgspec

from troth.access.accounts.people import MAX_EMAIL
from troth.access.errors import (
    InvalidAuthorizationDetails,
    InvalidRequest,
    InvalidScope,
    OAuthError,
    RegistrationNotSupported,
    UnmetAuthentication,
    UnsupportedResponseType,
)
from troth.access.oauth.authorization_details import TYPE, Detail, read_details
from troth.access.oauth.clients import Client, Clients
from troth.access.scopes import OPENID, ScopeSet, asked_scopes
from troth.access.sessions import ACR_VALUES
from troth.access.tenants import Domain

Parameters = dict[str, str]

MAX_PARAMETERS = 40
MAX_VALUE = 4096
MAX_REQUEST = 4800
"""Bytes of all that is kept of a request; more does not fit into an address (`web.origin.MAX_PATH`)."""

PROMPTS = frozenset({"none", "login", "consent"})

MAX_LOCALES = 10

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,4}", re.ASCII)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class AuthorizationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that passed every check. `asked_at` is when it first arrived: signing in again for it has to
    happen later than that."""

    client: str
    redirect_uri: str
    scope: str
    challenge: str
    asked_at: int
    state: str = ""
    nonce: str = ""
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    dpop_jkt: str = ""
    acr_values: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()
    login_hint: str = ""
    ui_locales: tuple[str, ...] = ()

    @property
    def scopes(self) -> ScopeSet:
        return asked_scopes(self.scope)

    def is_met_by(self, acr: str) -> bool:
        """Whether a session that proved this much is enough (OpenID Connect Core 3.1.2.1, `acr_values`): who
        asks for the stronger alone wants it, and more than was asked for is enough."""
        return not self.acr_values or any(acr >= wanted for wanted in self.acr_values)

    def needs_sign_in(self, authenticated_at: datetime) -> bool:
        """Whether a session of that age is too old for this request (OpenID Connect Core 3.1.2.1)."""
        signed_in = authenticated_at.timestamp()
        if "login" in self.prompt and signed_in < self.asked_at:
            return True
        return self.max_age is not None and signed_in < self.asked_at - self.max_age


class Refused(Exception):
    """A refusal that belongs to the client: `location` is where the browser goes with it."""

    def __init__(self, location: str, error: OAuthError) -> None:
        super().__init__(error.public)
        self.location = location
        self.error = error


class RequestSource(Protocol):
    """Finds what a client asks for: in the query itself, in a token that it signed, or pushed before."""

    async def resolve(
        self, domain: Domain, client: Client, pairs: Sequence[tuple[str, str]]
    ) -> list[tuple[str, str]]: ...


async def read_request(
    domain: Domain, pairs: Sequence[tuple[str, str]], clients: Clients, source: RequestSource, now: datetime
) -> tuple[AuthorizationRequest, Client]:
    """Check a request. Raises OAuthError to be shown here, and Refused to be sent to the client."""
    # 1. Whose request is it? Nothing goes anywhere before this is known.
    client = await _established_client(domain, first_values(pairs), clients)
    # 2. Where does it stand? From here on only that is read.
    asked = await source.resolve(domain, client, pairs)
    # 3. Is all of it right?
    return check_request(domain, asked, client, now), client


def check_request(
    domain: Domain, pairs: Sequence[tuple[str, str]], client: Client, now: datetime
) -> AuthorizationRequest:
    """Check the parameters themselves. Raises OAuthError and Refused as `read_request` does."""
    parameters = first_values(pairs)
    redirect_uri = _established_redirect(parameters, client)
    # From here on the client learns what is wrong.
    try:
        for check in CHECKS:
            check(parameters, pairs)
        _check_challenge(parameters, client)
        details = _read_details(domain, parameters, client)
        return _build(parameters, client, redirect_uri, details, now)
    except OAuthError as error:
        state = parameters.get("state", "")[:MAX_VALUE]
        raise Refused(error_location(domain, redirect_uri, state, error), error) from None


def first_values(pairs: Sequence[tuple[str, str]]) -> Parameters:
    """The first value of each parameter that has one: an empty one counts as left out (RFC 6749, 3.1)."""
    found: Parameters = {}
    for name, value in pairs[: 4 * MAX_PARAMETERS]:
        if value:
            found.setdefault(name, value)
    return found


async def _established_client(domain: Domain, parameters: Parameters, clients: Clients) -> Client:
    client = await clients.find(domain, parameters.get("client_id", ""))
    if client is None:
        raise InvalidRequest("client_id is missing or not known here")
    return client


def _established_redirect(parameters: Parameters, client: Client) -> str:
    uri = parameters.get("redirect_uri", "")
    if not client.accepts_redirect(uri):
        raise InvalidRequest("redirect_uri is missing or not registered for this client")
    return uri


def _check_repetition(_: Parameters, pairs: Sequence[tuple[str, str]]) -> None:
    """Two values for one name let two readers see two requests (RFC 6749 section 3.1)."""
    names = [name for name, _ in pairs]
    if len(names) > MAX_PARAMETERS or len(set(names)) != len(names):
        raise InvalidRequest("a parameter occurs more than once")
    if any(len(value) > MAX_VALUE for _, value in pairs):
        raise InvalidRequest("a parameter is too long")


def _check_registration(parameters: Parameters, _: object) -> None:
    if "registration" in parameters:
        raise RegistrationNotSupported("registration is not supported")


def _check_response_type(parameters: Parameters, _: object) -> None:
    if "response_type" not in parameters:
        raise InvalidRequest("response_type is missing")
    if parameters["response_type"] != "code":
        raise UnsupportedResponseType("the only response_type is code")


def _check_response_mode(parameters: Parameters, _: object) -> None:
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequest("the only response_mode is query")


def _check_challenge(parameters: Parameters, client: Client) -> None:
    """Without PKCE a stolen code is a stolen session (RFC 9700 section 2.1.1); `plain` protects nothing."""
    if "code_challenge" not in parameters and not client.needs_pkce:
        return _check_nonce_instead(parameters)
    if "code_challenge" not in parameters:
        raise InvalidRequest("code_challenge is missing")
    if parameters.get("code_challenge_method") != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not _CHALLENGE.fullmatch(parameters["code_challenge"]):
        raise InvalidRequest("code_challenge is not the SHA-256 of a verifier in base64url")
    return None


def _check_nonce_instead(parameters: Parameters) -> None:
    """A confidential client that was registered without PKCE: the nonce in its ID token has to tell an
    injected code from its own (RFC 9700 section 2.1.1)."""
    if "nonce" not in parameters or OPENID not in parameters.get("scope", "").split(" "):
        raise InvalidRequest("code_challenge is missing, or nonce with the scope openid in its place")
    if "code_challenge_method" in parameters:
        raise InvalidRequest("code_challenge is missing")


def _check_scope(parameters: Parameters, _: object) -> None:
    asked_scopes(parameters.get("scope", ""))


def _check_prompt(parameters: Parameters, _: object) -> None:
    words = set(_prompts(parameters))
    if words - PROMPTS:
        raise InvalidRequest("prompt knows none, login and consent")
    if "none" in words and len(words) > 1:
        raise InvalidRequest("prompt none stands alone")


def _check_max_age(parameters: Parameters, _: object) -> None:
    age = parameters.get("max_age", "0")
    if not (age.isascii() and age.isdecimal() and len(age) <= 9):
        raise InvalidRequest("max_age is a number of seconds")


def _check_acr_values(parameters: Parameters, _: object) -> None:
    """They are wishes, in the order of preference; but where none of them exists here, silence would be taken
    for consent (RFC 9470 section 5)."""
    asked = parameters.get("acr_values", "").split()
    if asked and not set(asked) & set(ACR_VALUES):
        raise UnmetAuthentication("none of these acr_values exists here")


def _check_key(parameters: Parameters, _: object) -> None:
    """The key that has to redeem the code (RFC 9449 section 10)."""
    if "dpop_jkt" in parameters and not _CHALLENGE.fullmatch(parameters["dpop_jkt"]):
        raise InvalidRequest("dpop_jkt is not the thumbprint of a key")


CHECKS: tuple[Callable[[Parameters, Sequence[tuple[str, str]]], None], ...] = (
    _check_repetition,
    _check_registration,
    _check_response_type,
    _check_response_mode,
    _check_scope,
    _check_prompt,
    _check_max_age,
    _check_acr_values,
    _check_key,
)
"""In this order; the first fault is the answer."""


def _prompts(parameters: Parameters) -> tuple[str, ...]:
    words = parameters.get("prompt", "").split()
    # Choosing an account is signing in: a browser holds one session for a domain.
    return tuple(sorted({"login" if word == "select_account" else word for word in words}))


def _locales(parameters: Parameters) -> tuple[str, ...]:
    """Languages in the order of preference (OpenID Connect Core 3.1.2.1). They are wishes: what is no
    language tag (RFC 5646) or too much is passed over."""
    tags = parameters.get("ui_locales", "").split()
    return tuple(one for one in tags if _LANGUAGE_TAG.fullmatch(one))[:MAX_LOCALES]


def _read_details(domain: Domain, parameters: Parameters, client: Client) -> tuple[Detail, ...]:
    if "authorization_details" not in parameters:
        return ()
    if TYPE not in client.authorization_details_types:
        raise InvalidAuthorizationDetails("the client is not registered for authorization_details")
    return read_details(parameters["authorization_details"], domain.audience)


def _build(
    parameters: Parameters, client: Client, redirect_uri: str, details: tuple[Detail, ...], now: datetime
) -> AuthorizationRequest:
    # Without any wish a client gets all that it was registered for; with details, those are its wish.
    asked = asked_scopes(parameters.get("scope", "")) or (ScopeSet() if details else client.scopes)
    if not asked and not details:
        raise InvalidScope("there is nothing to ask for")
    request = AuthorizationRequest(
        client=client.id,
        redirect_uri=redirect_uri,
        scope=str(asked),
        challenge=parameters.get("code_challenge", ""),
        asked_at=int(now.timestamp()),
        state=parameters.get("state", ""),
        nonce=parameters.get("nonce", ""),
        prompt=_prompts(parameters),
        max_age=int(parameters["max_age"]) if "max_age" in parameters else None,
        dpop_jkt=parameters.get("dpop_jkt", ""),
        acr_values=tuple(one for one in parameters.get("acr_values", "").split() if one in ACR_VALUES),
        details=details,
        login_hint=parameters.get("login_hint", "")[:MAX_EMAIL],
        ui_locales=_locales(parameters),
    )
    # It travels through the sign-in page in an address, and one that is cut would lose its way.
    if len(msgspec.json.encode(request)) > MAX_REQUEST:
        raise InvalidRequest("the request is too long")
    return request


def code_location(domain: Domain, request: AuthorizationRequest, code: str) -> str:
    """Where the browser takes the code. `iss` tells a client with several servers whose it is (RFC 9207)."""
    return _location(request.redirect_uri, code=code, state=request.state, iss=domain.issuer)


def error_location(domain: Domain, redirect_uri: str, state: str, error: OAuthError) -> str:
    """Where the browser takes a refusal (RFC 6749 section 4.1.2.1)."""
    return _location(
        redirect_uri, error=error.code, error_description=error.public, state=state, iss=domain.issuer
    )


def _location(redirect_uri: str, **answer: str) -> str:
    query = urlencode({name: value for name, value in answer.items() if value})
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{query}"
