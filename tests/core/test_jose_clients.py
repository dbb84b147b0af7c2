"""What a client signs proves something only with its own key and its pinned algorithm."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.client_keys import EC_KEY, ED_KEY, RSA_KEY, PrivateKey, encode, public_jwk, sign
from troth.core.client_kinds import ClientAlgorithm
from troth.core.jose_clients import ClientKeys, claimed_subject, read_client_keys
from troth.core.jose_parts import MAX_TOKEN_BYTES, TokenError

TYPES = ("JWT", None)
CLAIMS = {"iss": "ledger", "sub": "ledger", "jti": "one"}
KEY_OF: dict[str, PrivateKey] = {
    "ES256": EC_KEY,
    "PS256": RSA_KEY,
    "RS256": RSA_KEY,
    "Ed25519": ED_KEY,
    "EdDSA": ED_KEY,
}


def keys(algorithm: ClientAlgorithm = "ES256", **members: Any) -> ClientKeys:
    return ClientKeys(read_client_keys([public_jwk(KEY_OF[algorithm], kid="k", **members)]), algorithm)


def refusal(token: str, algorithm: ClientAlgorithm = "ES256") -> str:
    with pytest.raises(TokenError) as refused:
        keys(algorithm).verify(token, TYPES)
    assert str(refused.value) == "The token is not valid."
    assert len(refused.value.detail) <= 200
    return refused.value.code


@pytest.mark.parametrize("algorithm", KEY_OF)
@pytest.mark.parametrize("members", [{}, {"kid": "k"}, {"typ": "JWT"}], ids=str)
def test_a_token_of_the_pinned_algorithm_gives_its_claims(
    algorithm: ClientAlgorithm, members: dict[str, str]
) -> None:
    token = sign(KEY_OF[algorithm], {"alg": algorithm, **members}, CLAIMS)
    assert keys(algorithm).verify(token, TYPES) == CLAIMS
    assert claimed_subject(token) == "ledger"


@pytest.mark.parametrize("pinned", KEY_OF)
@pytest.mark.parametrize("named", ["none", "None", "HS256", "ES384", "ES256K", "RS512", "", None, 1, *KEY_OF])
def test_another_algorithm_than_the_pinned_one_is_refused(pinned: ClientAlgorithm, named: object) -> None:
    if named != pinned:
        assert refusal(sign(KEY_OF[pinned], {"alg": named}, CLAIMS), pinned) == "algorithm"


def test_a_token_without_signature_is_refused() -> None:
    claims = encode(json.dumps(CLAIMS).encode())
    for named, code in (("none", "algorithm"), ("ES256", "signature")):
        header = encode(json.dumps({"alg": named}).encode())
        assert refusal(f"{header}.{claims}.") == code


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_hash_keyed_with_the_public_key_is_refused(algorithm: ClientAlgorithm) -> None:
    public = json.dumps(public_jwk(KEY_OF[algorithm])).encode()
    for named in ("HS256", algorithm):
        text = f"{encode(json.dumps({'alg': named}).encode())}.{encode(json.dumps(CLAIMS).encode())}"
        forged = f"{text}.{encode(hmac.new(public, text.encode(), hashlib.sha256).digest())}"
        assert refusal(forged, algorithm) in {"algorithm", "signature"}


def test_the_padding_of_rsa_is_pinned_too() -> None:
    # Signed over a header that says RS256, with the padding of PS256: the text matches, the scheme does not.
    pss = sign(RSA_KEY, b'{"kid":"PS256","alg":"RS256"}', CLAIMS)
    named = ClientKeys([public_jwk(RSA_KEY, kid="PS256")], "RS256")
    with pytest.raises(TokenError) as refused:
        named.verify(pss, TYPES)
    assert refused.value.code == "signature"


@pytest.mark.parametrize(
    "member",
    [
        {"jku": "https://evil.example/keys"},
        {"jwk": public_jwk(EC_KEY)},
        {"x5u": "https://evil.example/chain"},
        {"x5c": ["MIIB"]},
        {"x5t#S256": "x"},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
    ids=lambda member: next(iter(member)),
)
def test_a_header_that_brings_keys_or_rules_is_refused(member: dict[str, object]) -> None:
    assert refusal(sign(EC_KEY, {"alg": "ES256", **member}, CLAIMS)) == "malformed"


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "jwt", "", 1, ["JWT"]])
def test_another_type_of_token_is_refused(typ: object) -> None:
    assert refusal(sign(EC_KEY, {"alg": "ES256", "typ": typ}, CLAIMS)) == "type"


@pytest.mark.parametrize("kid", ["other", "", None, ["k"], "../k", "' or 1=1 --", "k\0"])
def test_a_kid_that_names_no_key_is_refused(kid: object) -> None:
    assert refusal(sign(EC_KEY, {"alg": "ES256", "kid": kid}, CLAIMS)) == "signature"


def test_another_key_of_the_same_kind_and_name_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert refusal(sign(other, {"alg": "ES256", "kid": "k"}, CLAIMS)) == "signature"


def test_of_several_keys_the_token_has_to_name_one() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    both = ClientKeys(
        read_client_keys(
            [public_jwk(EC_KEY, kid="a"), public_jwk(other, kid="b"), public_jwk(RSA_KEY, kid="c")]
        ),
        "ES256",
    )
    assert both.verify(sign(other, {"alg": "ES256", "kid": "b"}, CLAIMS), TYPES) == CLAIMS
    for header in ({"alg": "ES256"}, {"alg": "ES256", "kid": "a"}, {"alg": "ES256", "kid": "c"}):
        with pytest.raises(TokenError):
            both.verify(sign(other, header, CLAIMS), TYPES)


@pytest.mark.parametrize(
    "payload",
    [b'{"sub":"ledger","sub":"other"}', b"[]", b'"x"', b"{", b"\xff", b"[" * 4000, b"", b'{"a":NaN}'],
    ids=["twice", "array", "string", "open", "no-utf8", "deep", "empty", "nan"],
)
def test_unreadable_claims_are_refused_though_signed(payload: bytes) -> None:
    token = sign(EC_KEY, {"alg": "ES256"}, payload)
    assert refusal(token) == "malformed"
    with pytest.raises(TokenError):
        claimed_subject(token)


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "é.b.c", "\0..", "Bearer", "=.=.="])
def test_text_that_is_no_token_is_refused(text: str) -> None:
    assert refusal(text) == "malformed"
    with pytest.raises(TokenError):
        claimed_subject(text)


def test_a_header_that_says_something_twice_is_refused() -> None:
    assert refusal(sign(EC_KEY, b'{"alg":"none","alg":"ES256"}', CLAIMS)) == "malformed"


def test_an_oversized_token_is_refused_unread() -> None:
    assert refusal(sign(EC_KEY, {"alg": "ES256"}, {"x": "y" * MAX_TOKEN_BYTES})) == "malformed"
    with pytest.raises(TokenError):
        claimed_subject("a" * 10_000_000)


@pytest.mark.parametrize("subject", [None, 1, ["ledger"], {}])
def test_a_subject_that_is_no_text_is_refused(subject: object) -> None:
    with pytest.raises(TokenError):
        claimed_subject(sign(EC_KEY, {"alg": "ES256"}, {"sub": subject}))


GOOD = public_jwk(EC_KEY)


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "AAAA"},
        {**GOOD, "d": "AAAA"},
        {**GOOD, "kty": "RSA"},
        {**GOOD, "crv": "secp256k1"},
        {**GOOD, "x": GOOD["y"]},
        {**GOOD, "x": ""},
        {**GOOD, "x": 1},
        {**GOOD, "use": "enc"},
        {**GOOD, "alg": "RS256"},
        {**GOOD, "alg": "HS256"},
        {**GOOD, "alg": "none"},
        {**GOOD, "kid": ""},
        {**GOOD, "kid": 7},
        {**GOOD, "kid": "k" * 201},
        {**GOOD, "kid": "a\nb"},
        {**GOOD, "key_ops": ["sign"]},
        {**GOOD, "key_ops": 1},
        {**GOOD, "x5u": "https://evil.example"},
        public_jwk(ec.generate_private_key(ec.SECP384R1())),
        {"kty": "OKP", "crv": "X25519", "x": encode(bytes(32))},
        {"kty": "OKP", "crv": "Ed25519", "x": encode(bytes(31))},
        public_jwk(rsa.generate_private_key(public_exponent=65_537, key_size=1024)),  # noqa: S505 - so it is
        public_jwk(rsa.generate_private_key(public_exponent=3, key_size=2048)),
        {**public_jwk(RSA_KEY), "n": encode(b"\xff" * 1000)},
        {**public_jwk(RSA_KEY), "e": encode(b"\x01\x00\x00")},
    ],
    ids=lambda jwk: "-".join(sorted(jwk)),
)
def test_a_key_that_is_unsafe_or_none_is_not_registered(jwk: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"[Kk]ey|kid|exponent"):
        read_client_keys([jwk])


def test_keys_have_names_of_their_own_and_a_bound() -> None:
    twice: list[Mapping[str, object]] = [{**GOOD, "kid": "a"}, {**public_jwk(RSA_KEY), "kid": "a"}]
    for wrong in (twice, [GOOD, public_jwk(RSA_KEY)], [{**GOOD, "kid": str(n)} for n in range(11)]):
        with pytest.raises(ValueError, match="key"):
            read_client_keys(wrong)


def test_only_public_members_are_kept() -> None:
    kept = read_client_keys([{**GOOD, "kid": "a", "ext": True, "use": "sig", "x5t": "AAAA"}])
    assert kept == ({**GOOD, "kid": "a"},)
