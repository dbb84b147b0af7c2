"""Clients of troth.toml: how they prove who they are has to be whole before anything starts."""

import json
from pathlib import Path

import pytest

from support.client_keys import EC_KEY, public_jwk
from support.configuration import Load, only_fault, replaced

REDIRECTS = '["https://ledger.example/callback"]'


def client(*lines: str) -> str:
    return replaced(f"redirect_uris = {REDIRECTS}", "\n".join((f"redirect_uris = {REDIRECTS}", *lines)))


def test_a_client_with_keys_in_a_file_is_accepted(load: Load, folder: Path) -> None:
    (folder / "keys.json").write_text(json.dumps({"keys": [public_jwk(EC_KEY)]}))
    text = client(
        'token_endpoint_auth_method = "private_key_jwt"',
        'token_endpoint_auth_signing_alg = "ES256"',
        'jwks = "keys.json"',
        "dpop_bound_access_tokens = true",
    )
    assert load(text).clients["ledger"].jwks == folder / "keys.json"


@pytest.mark.parametrize(
    ("lines", "key", "said"),
    [
        (
            ('token_endpoint_auth_method = "magic"',),
            "token_endpoint_auth_method",
            "one of",
        ),
        (("require_pkce = 1",), "require_pkce", "true or false"),
        (("require_pkce = false",), "require_pkce", "PKCE"),
        (('jwks = "missing.json"',), "jwks", "cannot be read"),
        (('client_secret = "x"',), "client_secret", "no key"),
        (('token_endpoint_auth_method = "private_key_jwt"',), "token_endpoint_auth_signing_alg", "algorithm"),
        (("require_signed_request_object = true",), "request_object_signing_alg", "algorithm"),
        (('grant_types = ["password"]',), "grant_types", "no grant type"),
        (('backchannel_logout_uri = "http://x.example/"',), "backchannel_logout_uri", "https"),
        (('post_logout_redirect_uris = ["x"]',), "post_logout_redirect_uris[0]", "URI"),
        (('token_endpoint_auth_method = "self_signed_tls_client_auth"',), "jwks", "x5c"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_client_that_is_not_whole_is_refused(
    load: Load, lines: tuple[str, ...], key: str, said: str
) -> None:
    fault = only_fault(load, client(*lines))
    assert fault.key == f"clients.ledger.{key}"
    assert said in fault.public
