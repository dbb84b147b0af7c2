"""Where a request comes from: the defence of everything that a cookie authenticates."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from troth.access.errors import CrossSite
from troth.access.tenants import Domain

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""RFC 9110 section 9.2.1; an application must not change anything by them."""

MAX_PATH = 8192

_PATH = re.compile(r"/[!-\[\]-~]*", re.ASCII)
"""A slash, then printable ASCII without the backslash."""

_AMBIGUOUS = re.compile(r"//|[\\\x00-\x1f#?%]|/\.{1,2}(?:/|$)")


def require_same_origin(headers: Mapping[str, str], domain: Domain) -> None:
    """Raises CrossSite unless a page of this very domain sent the request.

    A browser sets both headers by itself and no script can change them. `Sec-Fetch-Site` decides where it is
    sent; a sibling domain (`same-site`) is somebody else's here. `Origin` has to agree, save for the `null`
    that a page with a `no-referrer` policy sends. A request with neither comes from no browser of today:
    programs use access tokens, not cookies.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        raise CrossSite("The request came from another site.", detail=f"Sec-Fetch-Site: {site[:40]}")
    if origin == domain.issuer or (site is not None and origin in (None, "null")):
        return
    raise CrossSite("The request came from another site.", detail=f"Origin: {(origin or 'none')[:200]}")


def require_own_script(headers: Mapping[str, str]) -> None:
    """Raises CrossSite unless a script of this very domain asks; typing the address does not do.

    For answers that hold a secret: another site must not be able to have them rendered or measured.
    """
    site = headers.get("sec-fetch-site", "none")
    if site != "same-origin":
        raise CrossSite("Only pages of this domain may ask for this.", detail=f"Sec-Fetch-Site: {site[:40]}")


def safe_return_to(text: str) -> str:
    """`text` when it is a path on this origin, `/` otherwise (open redirector).

    `//host`, `/\\host` and control characters, which browsers drop or turn into slashes, lead elsewhere.
    """
    if text.startswith("//") or len(text) > MAX_PATH or not _PATH.fullmatch(text):
        return "/"
    return text


def is_public(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an application shows this path without sign-in.

    A path that two readers may read differently (dot segments, doubled slashes, backslashes, what is encoded
    twice) is not public, whatever it begins with. A prefix ends at a slash: `/help` is not `/helpdesk`.
    """
    plain = unquote(path)
    if _AMBIGUOUS.search(plain):
        return False
    return any(plain == prefix or plain.startswith(f"{prefix.rstrip('/')}/") for prefix in prefixes)
