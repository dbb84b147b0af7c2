"""The Python package authlib, unmodified, as a client application of a house; no types come with it."""

import importlib
import time
import warnings
from typing import Any
from urllib.parse import urlsplit

import httpx

from support.browser import Browser
from support.client import hidden
from support.client_keys import EC_KEY
from support.served import with_api

with warnings.catch_warnings(record=True):  # it warns that it will once leave the httpx that we use
    _integration: Any = importlib.import_module("authlib.integrations.httpx_client")
_assertions: Any = importlib.import_module("authlib.oauth2.rfc7523")
_jwk: Any = importlib.import_module("joserfc.jwk")

OAuthError: type[Exception] = importlib.import_module("authlib.integrations.base_client").OAuthError

REDIRECT = "https://ledger.example/callback"
SCOPE = "openid profile tickets:read"
VERIFIER = "of-these-tests-and-long-enough-to-be-one-of-RFC-7636"


def open_client(browser: Browser, identifier: str, secret: Any = None, /, **settings: Any) -> Any:
    """authlib's asynchronous client, on the domain that the browser is on, over ASGI."""
    return _integration.AsyncOAuth2Client(
        identifier,
        secret,
        redirect_uri=REDIRECT,
        transport=httpx.ASGITransport(with_api(browser.services)),
        token_endpoint=f"{browser.origin}/oauth/token",
        code_challenge_method="S256",
        **{"scope": SCOPE, "token_endpoint_auth_method": "none", **settings},
    )


def open_signing_client(browser: Browser, identifier: str, audience: str, life: int | None = 60) -> Any:
    """One that proves who it is by a key; without `life` its assertions last as long as authlib wants."""
    key = _jwk.ECKey.import_key(EC_KEY)
    client = open_client(browser, identifier, key, token_endpoint_auth_method="private_key_jwt")
    client.register_client_auth_method(_assertion(audience, life))
    return client


def _assertion(audience: str, life: int | None) -> Any:
    def sign(auth: Any, method: str, uri: str, headers: Any, body: Any) -> Any:
        # A new signer each time: one that was given claims puts the same number into all of its assertions.
        claims = {} if life is None else {"exp": int(time.time()) + life}
        signer = _assertions.PrivateKeyJWT(audience, claims, {"kid": "k"}, "ES256")
        return signer(auth, method, uri, headers, body)

    return ("private_key_jwt", sign)


async def agree(browser: Browser, client: Any, /, **more: str) -> str:
    """The address to which the person's browser takes the code, having agreed to all that is asked for."""
    url, _ = client.create_authorization_url(
        f"{browser.origin}/oauth/authorize", state="a state", code_verifier=VERIFIER, **more
    )
    return await consent(browser, url)


async def consent(browser: Browser, url: str) -> str:
    """Open an authorization request and agree to it."""
    parts = urlsplit(url)
    page = await browser.get(f"{parts.path}?{parts.query}")
    if page.status_code == 200:
        form = {"pending": hidden(page.text, "pending"), "decision": "allow"}
        page = await browser.post("/oauth/consent", form)
    return page.headers["location"]


async def connect(browser: Browser, client: Any, /, **more: str) -> Any:
    """Go through code and PKCE; returns the tokens, which the client keeps as well."""
    return await redeem(client, await agree(browser, client, **more))


async def redeem(client: Any, location: str, verifier: str = VERIFIER) -> Any:
    """Exchange the code of a callback."""
    return await client.fetch_token(authorization_response=location, state="a state", code_verifier=verifier)
