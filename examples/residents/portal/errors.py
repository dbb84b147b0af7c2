"""Why a call of the data API came to nothing.

ApiError
├── SignInNeeded   401: no session any more
├── Forbidden      403
├── Missing        404, or not this person's
├── Conflicting    409, or an Idempotency-Key that was used for something else
├── Stale          412: changed since it was read
├── Invalid        400, 413, 422: `faults` says what is wrong in which field
├── Busy           429
└── Unreachable    no answer in time, 5xx, or an answer that makes no sense; a write's outcome is unknown
"""


class ApiError(Exception):
    """The API said no. `code` is its stable wire code; `faults` is (field, sentence)."""

    def __init__(self, reason: str, *, code: str = "", faults: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(reason)
        self.code = code
        self.faults = faults


class SignInNeeded(ApiError):
    pass


class Forbidden(ApiError):
    pass


class Missing(ApiError):
    pass


class Conflicting(ApiError):
    pass


class Stale(ApiError):
    pass


class Invalid(ApiError):
    pass


class Busy(ApiError):
    pass


class Unreachable(ApiError):
    pass
