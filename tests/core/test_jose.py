"""Every forgery that a token can carry is refused, each for its own reason."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from troth.core import jose
from troth.core.jose import Claims, Signer, TokenError, Verifier

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ISSUER = "https://residents.localhost"
AUDIENCE = ISSUER + "/api/v1"
TYPE = "at+jwt"

KEY = jose.generate_signing_key()
SIGNER = Signer("first", KEY)
VERIFIER = Verifier([SIGNER.public_jwk()])
CLAIMS: dict[str, object] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "0198c1d2-0000-7000-8000-000000000001",
    "sid": "0198c1d2-0000-7000-8000-000000000002",
    "tid": "0198c1d2-0000-7000-8000-000000000003",
    "client_id": "session",
    "scope": "tickets:read:own",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 300,
    "jti": "one",
}


def encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def sign_raw(header: bytes, payload: bytes, key: bytes = KEY) -> str:
    """A JWS made with `cryptography` alone: the second implementation, and the forger's tool."""
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    signed = f"{encode(header)}.{encode(payload)}"
    r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def forge(header: Mapping[str, object], claims: Mapping[str, object] = CLAIMS) -> str:
    return sign_raw(json.dumps(header).encode(), json.dumps(claims).encode())


def verify(token: str, *, now: datetime = NOW, leeway: timedelta = timedelta(0)) -> Claims:
    return VERIFIER.verify(token, TYPE, ISSUER, AUDIENCE, now, leeway)


def refusal(token: str, *, now: datetime = NOW) -> str:
    with pytest.raises(TokenError) as refused:
        verify(token, now=now)
    return refused.value.code


GOOD_HEADER = {"alg": "ES256", "typ": TYPE, "kid": "first"}


def test_a_good_token_gives_its_claims() -> None:
    claims = verify(SIGNER.sign(CLAIMS, TYPE))
    assert (claims.iss, claims.scope, claims.exp - claims.iat) == (ISSUER, "tickets:read:own", 300)
    assert verify(SIGNER.sign(claims, TYPE)) == claims


def test_a_second_implementation_accepts_our_signature() -> None:
    header, payload, signature = SIGNER.sign(CLAIMS, TYPE).split(".")
    raw = decode(signature)
    dss = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    jwk = SIGNER.public_jwk()
    x, y = (int.from_bytes(decode(part), "big") for part in (jwk["x"], jwk["y"]))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    public.verify(dss, f"{header}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(dss, f"{header}.{payload}x".encode(), ec.ECDSA(hashes.SHA256()))
    assert json.loads(decode(header)) == GOOD_HEADER
    assert json.loads(decode(payload)) == CLAIMS


def test_a_signature_of_a_second_implementation_is_accepted() -> None:
    assert verify(forge(GOOD_HEADER)).sub == CLAIMS["sub"]


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256", "ES384", "EdDSA", "", None, 1])
def test_another_algorithm_is_refused(algorithm: object) -> None:
    assert refusal(forge({**GOOD_HEADER, "alg": algorithm})) == "algorithm"


def test_a_token_without_signature_is_refused() -> None:
    header, payload = encode(b'{"alg":"none","typ":"at+jwt"}'), encode(json.dumps(CLAIMS).encode())
    assert refusal(f"{header}.{payload}.") == "algorithm"


def test_a_hash_keyed_with_our_public_key_is_refused() -> None:
    signed = f"{encode(json.dumps({**GOOD_HEADER, 'alg': 'HS256'}).encode())}.{encode(b'{}')}"
    public = json.dumps(SIGNER.public_jwk()).encode()
    mac = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    assert refusal(f"{signed}.{encode(mac)}") == "algorithm"


@pytest.mark.parametrize("typ", ["JWT", "AT+JWT", "application/at+jwt", "", None])
def test_another_type_of_token_is_refused(typ: object) -> None:
    assert refusal(forge({**GOOD_HEADER, "typ": typ})) == "type"


@pytest.mark.parametrize(
    "member",
    [
        {"jku": "https://evil.example/keys"},
        {"jwk": dict(SIGNER.public_jwk())},
        {"x5u": "https://evil.example/chain"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
    ],
    ids=lambda member: next(iter(member)),
)
def test_a_header_that_brings_keys_or_rules_is_refused(member: dict[str, object]) -> None:
    assert refusal(forge({**GOOD_HEADER, **member})) == "malformed"


@pytest.mark.parametrize("kid", ["second", "", None, ["first"], "../first"])
def test_a_key_that_the_issuer_does_not_have_is_refused(kid: object) -> None:
    assert refusal(forge({**GOOD_HEADER, "kid": kid})) == "signature"


def test_a_key_of_the_same_name_at_another_issuer_does_not_sign_here() -> None:
    other = Signer("first", jose.generate_signing_key())
    assert refusal(other.sign(CLAIMS, TYPE)) == "signature"


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_a_changed_character_is_refused(segment: int) -> None:
    parts = SIGNER.sign(CLAIMS, TYPE).split(".")
    middle = len(parts[segment]) // 2
    changed = "A" if parts[segment][middle] != "A" else "B"
    parts[segment] = parts[segment][:middle] + changed + parts[segment][middle + 1 :]
    assert refusal(".".join(parts)) in {"signature", "malformed", "type", "algorithm"}


def test_a_signature_of_another_length_is_refused() -> None:
    header, payload, signature = SIGNER.sign(CLAIMS, TYPE).split(".")
    for other in ("", signature[:40], encode(decode(signature) + b"\0"), encode(bytes(64))):
        assert refusal(f"{header}.{payload}.{other}") == "signature"


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"ES256","typ":"at+jwt","kid":"first","alg":"ES256"}',
        b'{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"first"}',
        b'["ES256"]',
        b"null",
        b"{",
        b"\xff\xfe",
        b"[" * 5_000,
        b'{"alg":NaN}',
    ],
    ids=["twice", "twice-none", "array", "null", "open", "no-utf8", "deep", "nan"],
)
def test_an_unreadable_header_is_refused(header: bytes) -> None:
    assert refusal(sign_raw(header, json.dumps(CLAIMS).encode())) == "malformed"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(CLAIMS)[:-1].encode() + b',"scope":"announcements:delete"}',
        b"[]",
        b'"text"',
        b"{",
        b"\xff",
        b"[" * 4_000 + b"]" * 4_000,
        b"",
    ],
    ids=["duplicate-claim", "array", "string", "open", "no-utf8", "deep", "empty"],
)
def test_unreadable_claims_are_refused_though_signed(payload: bytes) -> None:
    token = sign_raw(json.dumps(GOOD_HEADER).encode(), payload)
    assert refusal(token) == "malformed"


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(CLAIMS).encode(),
        json.dumps(CLAIMS | {"of": "a stranger"}).encode(),
        json.dumps(dict(reversed(CLAIMS.items()))).encode(),
    ],
    ids=["spaces", "more", "another-order"],
)
def test_claims_that_our_signer_would_have_written_otherwise_are_read_alike(payload: bytes) -> None:
    ours = verify(SIGNER.sign(CLAIMS, TYPE))
    assert verify(sign_raw(json.dumps(GOOD_HEADER).encode(), payload)) == ours


def test_a_header_that_is_ours_letter_for_letter_counts_for_its_own_type_and_issuer() -> None:
    token = SIGNER.sign(CLAIMS, "JWT")
    VERIFIER.verify(token, "JWT", ISSUER, AUDIENCE, NOW)
    assert refusal(token) == "type"
    other = Verifier([Signer("second", jose.generate_signing_key()).public_jwk()])
    with pytest.raises(TokenError):
        other.verify(SIGNER.sign(CLAIMS, TYPE), TYPE, ISSUER, AUDIENCE, NOW)


@pytest.mark.parametrize("more", ["", ".", ".x", "..", ".x.y"])
def test_a_token_has_three_segments(more: str) -> None:
    whole = SIGNER.sign(CLAIMS, TYPE)
    assert refusal(whole.rpartition(".")[0] + more if not more else whole + more) == "malformed"


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "iat", "exp"])
def test_a_claim_that_is_missing_is_refused(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    assert refusal(forge(GOOD_HEADER, claims)) == "malformed"


@pytest.mark.parametrize(
    "wrong",
    [{"exp": "soon"}, {"exp": 1e300}, {"exp": True}, {"aud": [AUDIENCE]}, {"scope": ["a"]}, {"sub": None}],
    ids=str,
)
def test_a_claim_of_another_kind_is_refused(wrong: dict[str, object]) -> None:
    assert refusal(forge(GOOD_HEADER, {**CLAIMS, **wrong})) == "malformed"


def test_claims_that_are_not_known_are_ignored() -> None:
    assert verify(forge(GOOD_HEADER, {**CLAIMS, "later": {"x": 1}})).jti == "one"


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b", "a.b.c.d", "é.b.c", "a b.c.d", "=.=.=", "\0..", "Bearer"]
)
def test_text_that_is_no_token_is_refused(token: str) -> None:
    assert refusal(token) == "malformed"


def test_an_oversized_token_is_refused_unread() -> None:
    padded = SIGNER.sign({**CLAIMS, "scope": "x" * jose.MAX_TOKEN_BYTES}, TYPE)
    assert refusal(padded) == "malformed"
    assert refusal("a" * 10_000_000) == "malformed"


def test_another_issuer_and_another_audience_are_refused() -> None:
    owners = "https://owners.localhost"
    assert refusal(SIGNER.sign({**CLAIMS, "iss": owners}, TYPE)) == "issuer"
    assert refusal(SIGNER.sign({**CLAIMS, "aud": owners + "/api/v1"}, TYPE)) == "audience"
    assert refusal(SIGNER.sign({**CLAIMS, "aud": ISSUER}, TYPE)) == "audience"


def test_a_token_ends_at_the_second_it_names() -> None:
    token = SIGNER.sign(CLAIMS, TYPE)
    last = NOW + timedelta(seconds=299, milliseconds=999)
    assert verify(token, now=last).exp == CLAIMS["exp"]
    assert refusal(token, now=NOW + timedelta(seconds=300)) == "expired"
    assert verify(token, now=NOW + timedelta(seconds=301), leeway=timedelta(seconds=2)).jti == "one"


def test_a_token_of_the_future_is_refused() -> None:
    token = SIGNER.sign(CLAIMS, TYPE)
    assert refusal(token, now=NOW - timedelta(seconds=1)) == "expired"
    assert verify(token, now=NOW - timedelta(seconds=1), leeway=timedelta(seconds=1)).jti == "one"
    not_before = SIGNER.sign({**CLAIMS, "nbf": int(NOW.timestamp()) + 60}, TYPE)
    assert refusal(not_before) == "expired"


def test_a_refusal_tells_the_public_nothing_and_the_log_little() -> None:
    with pytest.raises(TokenError) as refused:
        verify(forge({**GOOD_HEADER, "kid": "x" * 5_000}))
    assert str(refused.value) == "The token is not valid."
    assert len(refused.value.detail) <= 200


def test_the_key_set_holds_public_parts_alone() -> None:
    keys = jose.key_set([SIGNER.public_jwk()])["keys"]
    assert [sorted(key) for key in keys] == [["alg", "crv", "kid", "kty", "use", "x", "y"]]
    assert len(decode(keys[0]["x"])) == len(decode(keys[0]["y"])) == 32


def test_a_verifier_refuses_keys_that_are_not_public_p256() -> None:
    good = SIGNER.public_jwk()
    for wrong in (
        {**good, "d": "AAAA"},
        {**good, "kty": "RSA"},
        {**good, "crv": "P-384"},
        {**good, "kid": ""},
        {**good, "x": good["y"]},
        {"kty": "EC", "crv": "P-256", "kid": "a"},
    ):
        with pytest.raises(ValueError, match=r"kid|public|Invalid|x|first"):
            Verifier([wrong])
    with pytest.raises(ValueError, match="two keys"):
        Verifier([good, good])


def test_a_signer_refuses_keys_that_are_not_private_p256() -> None:
    def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
        pkcs8 = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    rsa_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    for wrong in (pem(ec.generate_private_key(ec.SECP384R1())), pem(rsa_key), spki, b"rubbish"):
        with pytest.raises(ValueError, match=r"."):
            Signer("wrong", wrong)


def test_a_thumbprint_names_the_key_by_its_content() -> None:
    jwk = SIGNER.public_jwk()
    canonical = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    assert jose.thumbprint(KEY) == encode(hashlib.sha256(canonical.encode()).digest())
