"""Names that several rooms have to agree on."""

SESSION_COOKIE = "__Host-troth"
"""The session's cookie. Browsers bind the prefix to one host over HTTPS (RFC 6265bis section 4.1.3.2)."""

DEVICE_COOKIE = "__Host-device"
"""The cookie by which a browser is recognised that was signed in before."""

PENDING_COOKIE = "__Host-pending"
"""The cookie of a sign-in whose second factor is still to come. It opens nothing."""

LANGUAGE_COOKIE = "__Host-language"
"""The cookie with the language that an application asked for the pages of a sign-in. It says nothing else."""

SESSION_CLIENT = "session"
"""The client_id of the tokens that a browser's own session is given; no other client may bear it."""

MUTUAL_TLS_PREFIX = "mtls."
"""Before a client domain: its alias where the edge asks for a client certificate (RFC 8705 section 5)."""

PLATFORMS_OWN = "troth-"
"""How names of tenants and roles begin that the platform makes for its probes; nobody else's does."""

HTTPS_PORT = 443


def origin_of(domain: str, port: int) -> str:
    """The origin of a client domain (RFC 6454), which is also its issuer of tokens: the port is left out when
    it is HTTPS's own."""
    return f"https://{domain}" if port == HTTPS_PORT else f"https://{domain}:{port}"
