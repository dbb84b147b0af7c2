"""Which redirect URIs a client may register (RFC 9700 section 2.1, RFC 8252 section 7)."""

from urllib.parse import SplitResult, urlsplit

_LOOPBACK = ("127.0.0.1", "::1")


def check_redirect(uri: str) -> None:
    """Raise ValueError with a sentence when `uri` is no redirect URI that can be compared character by
    character and cannot be read on the way."""
    if not uri.isascii() or not uri.isprintable() or any(mark in uri for mark in ' *\\<>"'):
        raise ValueError("A redirect URI has no spaces, wildcards or characters beyond ASCII.")
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise ValueError("This is no URI.") from None
    # The code would be appended behind the fragment, where a script can read it (RFC 6749 section 3.1.2).
    if "#" in uri:
        raise ValueError("A redirect URI has no fragment.")
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError("A redirect URI names a host, and no user.")
    _check_scheme(parts)


def _check_scheme(parts: SplitResult) -> None:
    if parts.scheme == "https":
        return
    if parts.scheme != "http":
        raise ValueError(f"A redirect URI is https, not {parts.scheme[:30]}.")
    # `localhost` may be listened on by others, or resolve elsewhere (RFC 8252 section 8.3).
    if parts.hostname not in _LOOPBACK:
        raise ValueError(
            "Plain http shows the code to the network; only http://127.0.0.1 and http://[::1] are allowed."
        )
