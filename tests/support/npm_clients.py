"""Registered clients of every kind for the packages from npm, and what a script of tests/npm is told."""

import base64
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.access import House
from support.browser import Served
from support.client_keys import EC_KEY, public_jwk
from support.clients import add_client
from troth.access.oauth.clients import DEVICE_GRANT, REFRESH_GRANT

REDIRECT = "http://127.0.0.1/callback"
SCOPE = "openid profile email tickets:read"

KINDS: dict[str, dict[str, Any]] = {
    "basic": {"token_endpoint_auth_method": "client_secret_basic"},
    "post": {"token_endpoint_auth_method": "client_secret_post"},
    "key": {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": "ES256",
        "request_object_signing_alg": "ES256",
        "jwks": (public_jwk(EC_KEY, kid="k"),),
    },
    "television": {"grant_types": (DEVICE_GRANT, REFRESH_GRANT)},
    "rich": {"authorization_details_types": ("troth_data",)},
}
"""One for each way of proving who it is, and one for each thing that not every client may do."""


async def tell(served: Served, kinds: dict[str, dict[str, Any]] = KINDS, **more: Any) -> dict[str, Any]:
    """What a script reads from its standard input."""
    house = served.house
    return {
        "issuer": house.domain.issuer,
        "ca": str(served.ca),
        "cookie": (await house.begin()).token,
        "redirect": REDIRECT,
        "scope": SCOPE,
        "api": "/api/v1/tickets?limit=1",
        "audience": house.domain.audience,
        "clients": await _add_clients(house, kinds),
        "key": _private_key(),
        **more,
    }


class Ran:
    """What came of the flows of a script."""

    def __init__(self, house: House, seen: dict[str, dict[str, Any]]) -> None:
        self.house = house
        self._seen = seen

    def __getitem__(self, flow: str) -> dict[str, Any]:
        outcome = self._seen[flow]
        assert "broke" not in outcome, outcome["broke"]
        return outcome


async def _add_clients(house: House, kinds: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    made = {"ledger": {"id": "ledger"}}
    for name, registration in kinds.items():
        secret = await add_client(house, name, redirect_uris=(REDIRECT,), **registration)
        made[name] = {"id": name, "secret": secret}
    return made


def _private_key() -> str:
    """PKCS #8, which is what the Web Cryptography API reads."""
    plain = EC_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return base64.b64encode(plain).decode()
