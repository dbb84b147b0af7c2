"""The words that say how a client proves who it is and what it is given tokens for; imported everywhere."""

from typing import Literal, get_args

AuthMethod = Literal[
    "none",
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
]
"""How a client proves who it is (RFC 7591 section 2, OpenID Connect Core section 9, RFC 8705 section 2)."""

METHODS: tuple[AuthMethod, ...] = get_args(AuthMethod)
WITH_SECRET: tuple[AuthMethod, ...] = ("client_secret_basic", "client_secret_post")

ClientAlgorithm = Literal["ES256", "PS256", "RS256", "Ed25519", "EdDSA"]
"""What a client may sign with. `EdDSA` is the older name of what RFC 9864 calls `Ed25519`; here both mean
that one curve."""

CLIENT_ALGORITHMS: tuple[ClientAlgorithm, ...] = get_args(ClientAlgorithm)

CODE_GRANT = "authorization_code"
REFRESH_GRANT = "refresh_token"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = (CODE_GRANT, REFRESH_GRANT, DEVICE_GRANT)
