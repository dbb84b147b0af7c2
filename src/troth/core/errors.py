"""Every error Troth raises on purpose.

TrothError
├── UsageError              the person at the command line asked for something impossible (exit 2)
│   └── ConfigError         troth.toml: names the file, the line, the key and what to do
├── PlatformError           work failed (exit 1); says what to do next
└── RequestError            an answer to a web request; RFC 9457 problem details
    ├── Malformed           400
    ├── Unauthenticated     401
    │   └── StepUp          401, says how the person has to prove anew who they are
    ├── Denied              403, names the scope that was lacking
    ├── NotFound            404
    ├── Conflict            409
    ├── PreconditionFailed  412
    ├── TooLarge            413
    ├── UnsupportedMedia    415
    ├── Unprocessable       422, lists what is wrong where
    ├── PreconditionRequired 428
    ├── TooMany             429
    └── Unavailable         503
        └── OutcomeUnknown  503, it may have been done
"""

from pathlib import Path
from typing import ClassVar


class TrothError(Exception):
    """Root of the tree.

    `public` may be shown to anybody. `detail` is for the operator's log alone; it never holds a secret.
    """

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class UsageError(TrothError):
    """The command cannot be carried out as asked; nothing was started or changed. `hint` is the next step."""

    def __init__(self, public: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.hint = hint


def in_words(error: TrothError) -> str:
    """What went wrong and, where it is known, what to do: in one line."""
    return f"{error.public} {getattr(error, 'hint', '')}".rstrip()


class ConfigError(UsageError):
    """A fault in troth.toml. `hint` is the next step; `promise` is the id of the promise it would break.

    `others` are further faults of the same file: a person wants to mend them in one go.
    """

    def __init__(
        self,
        public: str,
        *,
        file: Path | None = None,
        line: int | None = None,
        key: str = "",
        hint: str = "",
        promise: str = "",
    ) -> None:
        super().__init__(public, hint=hint)
        self.file = file
        self.line = line
        self.key = key
        self.promise = promise
        self.others: tuple[ConfigError, ...] = ()

    @property
    def place(self) -> str:
        """`troth.toml:12: domains[0].name`, as far as it is known."""
        file = f"{self.file}:{self.line}" if self.file and self.line else str(self.file or "")
        return ": ".join(part for part in (file, self.key) if part)


class PlatformError(TrothError):
    """Work on the platform failed. `hint` is the next step."""

    def __init__(self, public: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.hint = hint


class RequestError(TrothError):
    """An error with an HTTP status and a stable wire code (RFC 9457, member `code`)."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something went wrong on our side"


class Malformed(RequestError):
    status = 400
    code = "malformed"
    title = "The request cannot be read"


class Unauthenticated(RequestError):
    """`error` is the RFC 6750 section 3.1 code for the WWW-Authenticate header, empty when no token came;
    `scheme` is how the token came, `nonce` one for the next DPoP proof (RFC 9449 section 7.1)."""

    status = 401
    code = "unauthenticated"
    title = "A valid access token is needed"

    def __init__(
        self, public: str, *, error: str = "", detail: str = "", scheme: str = "Bearer", nonce: str = ""
    ) -> None:
        super().__init__(public, detail=detail)
        self.error = error
        self.scheme = scheme
        self.nonce = nonce


class StepUp(Unauthenticated):
    """RFC 9470 section 3: a good token of a session whose authentication is too old, or too weak. `max_age`
    is in whole seconds; `acr` is empty where any will do."""

    code = "insufficient_user_authentication"
    title = "Sign in again to do this"

    def __init__(self, public: str, *, max_age: int, acr: str = "", detail: str = "") -> None:
        super().__init__(public, error=self.code, detail=detail)
        self.max_age = max_age
        self.acr = acr


class Denied(RequestError):
    """`scope` is the scope that would have allowed the call (RFC 6750 section 3.1, insufficient_scope).

    `lacking` says why the token does not hold it, once somebody looked: `person` (no role of theirs gives
    it), `client` (the client is not registered for it) or `asked` (it was not asked for).
    """

    status = 403
    code = "insufficient_scope"
    title = "The access token does not allow this"

    def __init__(self, public: str, *, scope: str, detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.scope = scope
        self.lacking = ""


class NotFound(RequestError):
    status = 404
    code = "not_found"
    title = "There is nothing here"


class Conflict(RequestError):
    status = 409
    code = "conflict"
    title = "This is there already"


class PreconditionFailed(RequestError):
    status = 412
    code = "precondition_failed"
    title = "Somebody changed this in the meantime"


class TooLarge(RequestError):
    status = 413
    code = "too_large"
    title = "The request is too large"


class UnsupportedMedia(RequestError):
    status = 415
    code = "unsupported_media_type"
    title = "This kind of content is not accepted"


class Unprocessable(RequestError):
    """`errors` lists each fault as (JSON pointer into the body, sentence)."""

    status = 422
    code = "invalid"
    title = "The content does not fit its schema"

    def __init__(self, public: str, *, errors: tuple[tuple[str, str], ...] = (), detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.errors = errors


class PreconditionRequired(RequestError):
    status = 428
    code = "precondition_required"
    title = "Say which version you are changing"


class TooMany(RequestError):
    """`retry_after` is in whole seconds."""

    status = 429
    code = "too_many_requests"
    title = "Too many requests"

    def __init__(self, public: str, *, retry_after: int, detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.retry_after = retry_after


class Unavailable(RequestError):
    """Nothing was done; the same may be asked again in a moment."""

    status = 503
    code = "unavailable"
    title = "The service cannot answer right now"


class OutcomeUnknown(Unavailable):
    """The connection broke over something that must not be done twice, and it may have been done. Whoever
    asked looks before asking again, or asks again with the same Idempotency-Key."""

    code = "outcome_unknown"
    title = "It is not known whether this was done"
