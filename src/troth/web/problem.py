"""Every error of the API as RFC 9457 problem details, mapped in one place.

Members: `type`, `title`, `status`, `detail`, `code` (stable, for programs), `request_id`, and where apt
`errors` (a list of `pointer` and `detail`), or `scope` and `lacking`. Never a stack trace, never a private
detail.
"""

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar

import msgspec

from troth.core.errors import (
    Denied,
    OutcomeUnknown,
    RequestError,
    StepUp,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from troth.core.jose_proofs import PROOF_ALGORITHMS

Headers = list[tuple[bytes, bytes]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PROOF_ALGORITHMS = " ".join(PROOF_ALGORITHMS)

_log = logging.getLogger(__name__)
_FAILOVER_SECONDS = 2
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_NOT_IN_QUOTES = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_NOT_IN_SCOPE = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")


class Fault(msgspec.Struct, frozen=True):
    """One fault of a body: where (JSON pointer) and what."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem as it goes over the wire. `headers` are set by `describe` and are no member of the body."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[Fault, ...] = ()
    scope: str = ""
    lacking: str = ""

    def to_wire(self) -> bytes:
        return msgspec.json.encode(self)


class MethodNotAllowed(RequestError):
    """405 with the methods that are (RFC 9110 section 15.5.6)."""

    status: ClassVar[int] = 405
    code: ClassVar[str] = "method_not_allowed"
    title: ClassVar[str] = "This method is not offered here"

    def __init__(self, allow: str) -> None:
        super().__init__(f"Offered here: {allow}.")
        self.allow = allow


def describe(error: Exception, request_id: str) -> Problem:
    """What may be told of an error. Whatever is not a RequestError is told as 500 and nothing more."""
    if not isinstance(error, RequestError):
        return Problem(
            _type(RequestError.code),
            RequestError.title,
            RequestError.status,
            "The request was understood but could not be carried out. Quote the request id to the operator.",
            RequestError.code,
            request_id,
        )
    return Problem(
        _type(error.code),
        error.title,
        error.status,
        error.public,
        error.code,
        request_id,
        tuple(Fault(*each) for each in error.errors) if isinstance(error, Unprocessable) else (),
        error.scope if isinstance(error, Denied) else "",
        error.lacking if isinstance(error, Denied) else "",
    )


def headers_of(error: Exception) -> Headers:
    """Headers that belong to an error: the challenge of RFC 6750 section 3, Allow, Retry-After."""
    if isinstance(error, MethodNotAllowed):
        return [(b"allow", error.allow.encode())]
    if isinstance(error, Unauthenticated):
        nonce: Headers = [(b"dpop-nonce", error.nonce.encode())] if error.nonce else []
        return [(b"www-authenticate", _challenge(error)), *nonce]
    if isinstance(error, Denied):
        scope = _NOT_IN_SCOPE.sub("", error.scope)
        value = f'Bearer realm="api", error="insufficient_scope", scope="{scope}"'
        return [(b"www-authenticate", value.encode())]
    seconds = retry_after(error)
    return [] if seconds is None else [(b"retry-after", str(seconds).encode())]


def retry_after(error: Exception) -> int | None:
    """After how many seconds the same may be asked again. None where that would not help, and where nobody
    knows whether it was done: a program that obeys the header would do it twice."""
    if isinstance(error, TooMany):
        return error.retry_after
    if isinstance(error, Unavailable) and not isinstance(error, OutcomeUnknown):
        return _FAILOVER_SECONDS
    return None


async def send_problem(
    send: Send, error: Exception, request_id: str, *, extra: Headers | None = None, head: bool = False
) -> None:
    """Answer with the problem; what was not raised on purpose goes to the log under the same request id."""
    problem = describe(error, request_id)
    if problem.status >= 500:
        detail = error.detail if isinstance(error, RequestError) else ""
        _log.error("request %s failed: %s %s", request_id, type(error).__name__, detail, exc_info=error)
    body = problem.to_wire()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request_id.encode()),
        *headers_of(error),
        *(extra or ()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


def read_request_id(sent: bytes | None) -> str:
    """The edge's request id, or a new one: what a client makes up must not forge log lines."""
    text = (sent or b"").decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else secrets.token_hex(16)


def _type(code: str) -> str:
    return f"urn:troth:problem:{code}"


def _challenge(error: Unauthenticated) -> bytes:
    """Without a token only the scheme is named; an error code is for a token that was refused."""
    value = f'{error.scheme} realm="api"'
    if error.scheme == "DPoP":
        value += f', algs="{_PROOF_ALGORITHMS}"'
    if error.error:
        description = _NOT_IN_QUOTES.sub("", error.public)
        value += f', error="{_NOT_IN_QUOTES.sub("", error.error)}", error_description="{description}"'
    if isinstance(error, StepUp):
        value += f', max_age="{error.max_age}"' + (f', acr_values="{error.acr}"' if error.acr else "")
    return value.encode()
