"""Who calls the back channel: one way of proving it for each client, the one that it was registered with.

RFC 6749 sections 2.3 and 3.2.1. Every endpoint that a client calls by itself asks here first.
"""

import base64
import binascii
import hashlib
import re
from urllib.parse import unquote_plus

import msgspec

from troth.access.errors import InvalidClient, InvalidRequest
from troth.access.failures import record_failure
from troth.access.oauth.assertions import ASSERTION_TYPE, Assertions, subject_of
from troth.access.oauth.certificates import check_certificate
from troth.access.oauth.clients import AuthMethod, Client, Clients
from troth.access.tenants import Domain
from troth.core.clock import Clock
from troth.core.db import Database
from troth.core.secret import equal

_BASE64 = re.compile(r"[A-Za-z0-9+/]{1,4000}={0,2}", re.ASCII)
_FORM_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.ASCII)
_MAX_SECRET = 512

_REFUSED = "the client is not known here, or could not prove who it is"
"""One sentence for all: it tells nobody which client ids exist."""


class ClientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a back-channel request shows of its sender: the form, the Authorization header, and the
    certificate (DER) of its TLS connection as the edge saw it. `url` is where it was sent, `trace` its id,
    `proof` its DPoP header."""

    form: dict[str, str]
    authorization: str | None = None
    certificate: bytes = b""
    url: str = ""
    trace: str = ""
    proof: str | None = None

    def __repr__(self) -> str:
        return "ClientRequest(…)"  # secrets are in it


class _Shown(msgspec.Struct, frozen=True):
    """The one credential of a request. `method` is None for a bare client_id: what it stands for, nobody or
    the holder of a certificate, is the registration's to say."""

    client_id: str
    method: AuthMethod | None
    credential: str = ""


class ClientAuthentication:
    """Finds the client of a request and makes it prove that it is the one."""

    def __init__(self, database: Database, clients: Clients, clock: Clock) -> None:
        self._database = database
        self._clients = clients
        self._clock = clock
        self._assertions = Assertions(database, clock)

    async def authenticate(self, domain: Domain, request: ClientRequest) -> Client:
        """The client that sent this. Raises InvalidClient, and InvalidRequest when it shows two credentials.

        A public client is one that has nothing to prove: it is returned too, see `Client.is_public`.
        """
        # 1. One credential at most: with two, each reader could believe another (RFC 6749 section 2.3).
        shown = _read_credential(request)
        # 2. Whose?
        client = await self._clients.find(domain, shown.client_id)
        if client is None:
            raise InvalidClient(_REFUSED, detail="unknown client")
        # 3. It is good, and of the kind that was agreed: a weaker one must not stand in for it.
        try:
            await self._check(domain, client, shown, request)
        except InvalidClient as refused:
            await self._record(domain, client, request, refused.detail)
            raise
        return client

    async def _check(self, domain: Domain, client: Client, shown: _Shown, request: ClientRequest) -> None:
        registered = client.token_endpoint_auth_method
        # A certificate is shown beside the request: to those who were registered with one it is the proof.
        if shown.method is None and registered in ("tls_client_auth", "self_signed_tls_client_auth"):
            check_certificate(client, request.certificate, self._clock.now())
            return
        if (shown.method or "none") != registered:
            raise InvalidClient(_REFUSED, detail=f"registered for {registered}, came with {shown.method}")
        if registered in ("client_secret_basic", "client_secret_post"):
            _check_secret(client, shown.credential)
        elif registered == "private_key_jwt":
            await self._assertions.check(domain, client, shown.credential, request.url)

    async def _record(self, domain: Domain, client: Client, request: ClientRequest, reason: str) -> None:
        await record_failure(
            self._database,
            "client.refused",
            domain.name,
            None,
            request.trace,
            client=client.id,
            reason=reason,
        )


def secret_hash(secret: str) -> bytes:
    """What is stored of a client's secret: it has 256 random bits, so one SHA-256 cannot be searched."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _check_secret(client: Client, secret: str) -> None:
    shown = secret_hash(secret)
    # Every one is compared: how many there are and which fits is nobody's to time.
    fits = [equal(shown, known) for known in client.secret_hashes]
    if not secret or not any(fits):
        raise InvalidClient(_REFUSED, detail="wrong secret")


def _read_credential(request: ClientRequest) -> _Shown:
    form = request.form
    header, secret = request.authorization is not None, "client_secret" in form
    assertion = "client_assertion" in form or "client_assertion_type" in form
    if header + secret + assertion > 1:
        raise InvalidRequest("the client proves who it is in one way, not in several")
    if request.authorization is not None:
        shown = _read_basic(request.authorization)
    elif assertion:
        shown = _read_assertion(form)
    elif secret:
        known = form["client_secret"][: _MAX_SECRET + 1]
        shown = _Shown(form.get("client_id", ""), "client_secret_post", known)
    else:
        shown = _Shown(form.get("client_id", ""), None)
    if form.get("client_id", shown.client_id) != shown.client_id:
        raise InvalidRequest("client_id differs from whom the credential is for")
    return shown


def _read_assertion(form: dict[str, str]) -> _Shown:
    """RFC 7521 section 4.2."""
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidClient(_REFUSED, detail="another client_assertion_type")
    assertion = form.get("client_assertion", "")
    return _Shown(subject_of(assertion), "private_key_jwt", assertion)


def _read_basic(header: str) -> _Shown:
    """The header's client and secret, each form-encoded before they were joined (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = header.partition(" ")
    encoded = encoded.strip(" ")
    if scheme.lower() != "basic" or not _BASE64.fullmatch(encoded):
        raise InvalidClient(_REFUSED, detail="not Basic")
    try:
        text = base64.b64decode(encoded, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidClient(_REFUSED, detail="unreadable Basic") from None
    name, colon, secret = text.partition(":")
    if not colon or not _FORM_ENCODED.fullmatch(name) or not _FORM_ENCODED.fullmatch(secret):
        raise InvalidClient(_REFUSED, detail="unreadable Basic")
    return _Shown(unquote_plus(name), "client_secret_basic", unquote_plus(secret)[: _MAX_SECRET + 1])
