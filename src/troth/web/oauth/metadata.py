"""What an issuer says about itself: only what it really does."""

from collections.abc import Iterable

from troth.access.oauth.authorization_details import TYPE as DETAIL_TYPE
from troth.access.oauth.clients import GRANT_TYPES, METHODS
from troth.access.scopes import IDENTITY
from troth.access.sessions import ACR_VALUES
from troth.access.tenants import Domain
from troth.core.client_kinds import CLIENT_ALGORITHMS
from troth.core.jose_proofs import PROOF_ALGORITHMS
from troth.core.scope import ACTIONS
from troth.web.catalogue import LANGUAGES

ALIASED = {
    "token": "token",
    "pushed_authorization_request": "par",
    "revocation": "revoke",
    "introspection": "introspect",
    "device_authorization": "device",
    "userinfo": "userinfo",
}
"""The endpoints that a client with a certificate calls at the domain's alias (RFC 8705 section 5)."""

_CLAIMS = ("sub", "name", "email", "auth_time", "acr", "amr", "sid", "nonce", "iss", "aud", "iat", "exp")


def metadata(domain: Domain, collections: Iterable[str]) -> dict[str, object]:
    """The metadata of RFC 8414 section 2, RFC 9207 section 3, RFC 9396 section 10, OpenID Connect Discovery
    section 3, and of OpenID Connect's logout."""
    issuer = domain.issuer
    data = [f"{name}:{action}" for name in collections for action in ACTIONS]
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "pushed_authorization_request_endpoint": f"{issuer}/oauth/par",
        "require_pushed_authorization_requests": False,
        "registration_endpoint": f"{issuer}/oauth/register",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "device_authorization_endpoint": f"{issuer}/oauth/device",
        "end_session_endpoint": f"{issuer}/oauth/logout",
        "mtls_endpoint_aliases": {
            f"{name}_endpoint": f"{domain.mutual_tls_origin}/oauth/{path}" for name, path in ALIASED.items()
        },
        "tls_client_certificate_bound_access_tokens": True,
        "userinfo_endpoint": f"{issuer}/oauth/userinfo",
        "jwks_uri": f"{issuer}/oauth/jwks",
        "scopes_supported": [*IDENTITY, *data],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": list(METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": [name for name in METHODS if name != "none"],
        "introspection_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "introspection_signing_alg_values_supported": ["ES256"],
        "dpop_signing_alg_values_supported": list(PROOF_ALGORITHMS),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": [*_CLAIMS],
        "acr_values_supported": list(ACR_VALUES),
        "authorization_details_types_supported": [DETAIL_TYPE],
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "prompt_values_supported": ["none", "login", "consent"],
        "ui_locales_supported": list(LANGUAGES),
        "authorization_response_iss_parameter_supported": True,
        "claims_parameter_supported": False,
        "request_parameter_supported": True,
        "request_uri_parameter_supported": False,
        "request_object_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "require_signed_request_object": False,
    }
