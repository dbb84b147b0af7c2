"""What access refuses, beyond core/errors.py.

RequestError
├── Unauthenticated
│   └── NoSession                nobody is signed in in this browser, on this domain
├── SignInRefused                401, says nothing about which part was wrong
├── LinkRefused                  410, whatever is wrong with a link from a message
├── TooManyTries                 429, somebody guesses, whether the account exists or not
├── PasswordNotAccepted          422, too short, too long, common, personal or breached
├── FactorRefused                401, a code or a passkey does not fit, whatever is wrong with it
├── FactorNotChanged             409, there is one already, or the tenant requires the last one
├── CrossSite                    403, a page of another site sent this request
└── OAuthError                   RFC 6749 section 4.1.2.1 and 5.2, OpenID Connect Core section 3.1.2.6
    ├── InvalidRequest  InvalidClient  InvalidGrant  InvalidScope
    ├── InvalidToken  InsufficientScope
    ├── InvalidProof
    │   └── UseNonce             RFC 9449 section 5 and 8, with the nonce to use
    ├── AuthorizationPending  SlowDown  ExpiredToken   RFC 8628 section 3.5
    ├── UnsupportedGrantType  UnsupportedResponseType
    ├── UnauthorizedClient
    ├── InvalidRequestObject  InvalidRequestUri    RFC 9101 section 7, RFC 9126
    ├── InvalidAuthorizationDetails                RFC 9396 section 5
    ├── UnmetAuthentication                        RFC 9470, OpenID Connect's unmet requirements
    ├── InvalidRedirectUri  InvalidClientMetadata  UnapprovedSoftwareStatement   RFC 7591 section 3.2.2
    ├── RegistrationNotSupported
    └── AccessDenied  LoginRequired  ConsentRequired
TrothError
└── WrongPassword                inside access alone
"""

from troth.core.errors import RequestError, TooMany, TrothError, Unauthenticated, Unprocessable


class NoSession(Unauthenticated):
    """`clear` says that the browser holds a cookie which opens nothing any more."""

    code = "no_session"
    title = "Nobody is signed in"

    def __init__(self, public: str = "Sign in first.", *, clear: bool = False, detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.clear = clear


class WrongPassword(TrothError):
    """The password does not fit. Never shown: see SignInRefused."""

    def __init__(self) -> None:
        super().__init__("The password does not fit.")


class SignInRefused(RequestError):
    """One answer for a wrong password, an unknown address and a disabled account (enumeration)."""

    status = 401
    code = "sign_in_refused"
    title = "The sign-in did not work"


class PasswordNotAccepted(Unprocessable):
    """A password that was chosen is refused; `reason` is one of those of `accounts/policy.py`."""

    code = "password_not_accepted"
    title = "This password is not accepted"

    def __init__(self, reason: str) -> None:
        super().__init__("Choose another password.", errors=(("/password", reason),))
        self.reason = reason


class FactorRefused(RequestError):
    """A code or a passkey that does not fit, was used before, is somebody else's or of another domain."""

    status = 401
    code = "factor_refused"
    title = "The sign-in did not work"


class FactorNotChanged(RequestError):
    """A factor stays as it is; `reason` is taken, full, last or unknown."""

    status = 409
    code = "factor_not_changed"
    title = "This cannot be changed"

    def __init__(self, reason: str) -> None:
        super().__init__("This cannot be changed.", detail=reason)
        self.reason = reason


class LinkRefused(RequestError):
    """One answer for a link that is unknown, used, replaced, too old, or another domain's."""

    status = 410
    code = "link_refused"
    title = "This link is not good any more"

    def __init__(self, detail: str) -> None:
        super().__init__("The link is not good any more.", detail=detail)


class TooManyTries(TooMany):
    """A try that came too early after others."""

    code = "too_many_tries"
    title = "Too many tries"


class CrossSite(RequestError):
    """A request that changes something came from elsewhere (cross-site request forgery)."""

    status = 403
    code = "cross_site"
    title = "This request did not come from this site"


class OAuthError(RequestError):
    """`code` is the wire's `error`, `public` its `error_description` (plain ASCII, RFC 6749 section 5.2)."""

    status = 400
    code = "server_error"
    title = "The authorization request was refused"


class InvalidRequest(OAuthError):
    code = "invalid_request"


class InvalidClient(OAuthError):
    status = 401
    code = "invalid_client"


class InvalidGrant(OAuthError):
    code = "invalid_grant"


class InvalidScope(OAuthError):
    code = "invalid_scope"


class InvalidToken(OAuthError):
    """RFC 6750 section 3.1."""

    status = 401
    code = "invalid_token"


class InsufficientScope(OAuthError):
    """RFC 6750 section 3.1."""

    status = 403
    code = "insufficient_scope"


class UnsupportedGrantType(OAuthError):
    code = "unsupported_grant_type"


class UnauthorizedClient(OAuthError):
    """The client proved who it is, and was not registered for this (RFC 6749 section 5.2)."""

    code = "unauthorized_client"


class InvalidAuthorizationDetails(OAuthError):
    code = "invalid_authorization_details"


class UnmetAuthentication(OAuthError):
    """The person cannot prove, or was not to be asked to prove, as much as the client wants."""

    code = "unmet_authentication_requirements"


class InvalidRequestObject(OAuthError):
    code = "invalid_request_object"


class InvalidRequestUri(OAuthError):
    code = "invalid_request_uri"


class InvalidRedirectUri(OAuthError):
    code = "invalid_redirect_uri"


class InvalidClientMetadata(OAuthError):
    code = "invalid_client_metadata"


class UnapprovedSoftwareStatement(OAuthError):
    code = "unapproved_software_statement"


class UnsupportedResponseType(OAuthError):
    code = "unsupported_response_type"


class RegistrationNotSupported(OAuthError):
    code = "registration_not_supported"


class AccessDenied(OAuthError):
    code = "access_denied"


class LoginRequired(OAuthError):
    code = "login_required"


class ConsentRequired(OAuthError):
    code = "consent_required"


class InvalidProof(OAuthError):
    """RFC 9449 section 5. `nonce` is one to use in the next proof."""

    code = "invalid_dpop_proof"

    def __init__(self, public: str, *, nonce: str = "", detail: str = "") -> None:
        super().__init__(public, detail=detail)
        self.nonce = nonce


class UseNonce(InvalidProof):
    """RFC 9449 section 8: the proof has no nonce of ours, or one that is too old."""

    code = "use_dpop_nonce"


class AuthorizationPending(OAuthError):
    code = "authorization_pending"


class SlowDown(OAuthError):
    code = "slow_down"


class ExpiredToken(OAuthError):
    code = "expired_token"
