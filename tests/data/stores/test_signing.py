"""Signatures of requests to S3, against the examples that Amazon publishes with the specification."""

import hashlib
from datetime import UTC, datetime

import pytest

from troth.core.secret import Secret
from troth.data.stores.signing import Signer, encode_path, encode_query, sign

SIGNER = Signer("AKIAIOSFODNN7EXAMPLE", Secret(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-east-1")
HOST = "examplebucket.s3.amazonaws.com"
NOW = datetime(2013, 5, 24, tzinfo=UTC)
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {},
            {"Range": "bytes=0-9"},
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            {},
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            {"lifecycle": ""},
            {},
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            {"prefix": "J", "max-keys": "2"},
            {},
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_the_published_examples_come_out(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], payload: bytes, signature: str
) -> None:
    digest = hashlib.sha256(payload).hexdigest()
    sent = sign(SIGNER, method, HOST, path, query, headers, digest, NOW)
    assert sent["authorization"].endswith(f"Signature={signature}")


def test_a_session_token_is_signed_too() -> None:
    signer = Signer("A", Secret(b"s"), "eu-west-1", "token")
    sent = sign(signer, "GET", HOST, "/", {}, {}, NOTHING, NOW)
    assert sent["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in sent["authorization"]


def test_names_are_encoded_as_the_specification_says() -> None:
    assert encode_path("/a b/ä=~") == "/a%20b/%C3%A4%3D~"
    assert encode_query({"uploads": "", "prefix": "a/b"}) == "prefix=a%2Fb&uploads="


def test_the_secret_does_not_show() -> None:
    assert "wJalrXUtn" not in repr(SIGNER)
