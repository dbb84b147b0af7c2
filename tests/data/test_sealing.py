"""The envelope: published vectors, a second implementation, and everything that must not open."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from troth.core.secret import Secret
from troth.data.sealing import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    DerivedKeys,
    SealError,
    SealingKey,
    bind,
    derive,
    read_header,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "xaes_256_gcm.json").read_text()
)
TENANT = UUID("0190a3c4-7a5e-7cc1-8f7b-3d5c9b1e2f40")
KEY = Secret(bytes(range(32)))
BINDING = bind("document", TENANT, b"tickets", b"1")


class Ticker:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def aes_block(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  one raw block, as specified
    return encryptor.update(block) + encryptor.finalize()


def derive_again(key: bytes, prefix: bytes) -> bytes:
    """A second implementation, from the text of the specification and bare AES blocks."""
    left = int.from_bytes(aes_block(key, bytes(16)), "big")
    doubled = (left << 1) & ((1 << 128) - 1)
    subkey = doubled ^ 0x87 if left >> 127 else doubled
    blocks = (b"\x00" + bytes([count]) + b"X\x00" + prefix for count in (1, 2))
    return b"".join(
        aes_block(key, (int.from_bytes(block, "big") ^ subkey).to_bytes(16, "big")) for block in blocks
    )


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["note"])
def test_the_published_vectors_come_out(vector: dict[str, str]) -> None:
    key, nonce = bytes.fromhex(vector["key"]), bytes.fromhex(vector["nonce"])
    derived = derive(key, nonce[:12])
    assert derived.hex() == vector["derived"]
    sealed = AESGCM(derived).encrypt(
        nonce[12:], bytes.fromhex(vector["plaintext"]), bytes.fromhex(vector["associated"])
    )
    assert sealed.hex() == vector["ciphertext"]


def test_ten_thousand_accumulated_messages_have_the_published_digest() -> None:
    stream = hashlib.shake_128().digest(10_000 * 570)
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return stream[at - count : at]

    digest = hashlib.shake_128()
    for _ in range(VECTORS["accumulated"]["iterations"]):
        key, nonce = take(32), take(24)
        plaintext = take(take(1)[0])
        associated = take(take(1)[0])
        digest.update(AESGCM(derive(key, nonce[:12])).encrypt(nonce[12:], plaintext, associated))
    assert digest.hexdigest(32) == VECTORS["accumulated"]["digest"]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12))
def test_a_second_implementation_derives_the_same_keys(key: bytes, prefix: bytes) -> None:
    assert derive(key, prefix) == derive_again(key, prefix)


@given(st.binary(max_size=2000), st.text(max_size=20), st.lists(st.binary(max_size=20), max_size=4))
def test_whatever_is_sealed_opens_for_the_same_purpose(
    plaintext: bytes, purpose: str, context: list[bytes]
) -> None:
    key = SealingKey(KEY, 7)
    binding = bind(purpose, TENANT, *context)
    sealed = key.seal(plaintext, binding)
    assert key.open(sealed, binding) == plaintext
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES


@pytest.mark.parametrize("size", [0, 1, 16_335, 16_336, 16_384, 16_385, 262_144, 1_000_003])
def test_large_messages_have_the_same_form_as_small_ones(size: int) -> None:
    plaintext = os.urandom(size)
    sealed = SealingKey(KEY, 1).seal(plaintext, BINDING)
    assert len(sealed) == size + OVERHEAD_BYTES
    assert SealingKey(KEY, 1).open(sealed, BINDING) == plaintext
    header = sealed[:HEADER_BYTES]
    bare = AESGCM(derive(KEY.reveal(), header[8:20]))
    assert bare.decrypt(header[20:], sealed[HEADER_BYTES:], header + BINDING) == plaintext


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_two_different_contexts_never_bind_alike(one: list[bytes], other: list[bytes]) -> None:
    assert (bind("p", TENANT, *one) == bind("p", TENANT, *other)) == (one == other)


@pytest.mark.parametrize(
    "elsewhere",
    [
        bind("signing-key", TENANT, b"tickets", b"1"),
        bind("document", UUID(int=7), b"tickets", b"1"),
        bind("document", TENANT, b"announcements", b"1"),
        bind("document", TENANT, b"tickets", b"2"),
        bind("document", TENANT, b"tickets1"),
        bind("document", TENANT, b"ticket", b"s1"),
    ],
)
def test_a_sealed_row_does_not_open_in_another_place(elsewhere: bytes) -> None:
    key = SealingKey(KEY, 1)
    sealed = key.seal(b"secret", BINDING)
    with pytest.raises(SealError):
        key.open(sealed, elsewhere)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_changed_byte_opens(at: int, flip: int) -> None:
    key = SealingKey(KEY, 1)
    sealed = bytearray(key.seal(b"some plaintext of a row", BINDING))
    sealed[at % len(sealed)] ^= flip
    with pytest.raises(SealError):
        key.open(bytes(sealed), BINDING)


@given(st.integers(min_value=0, max_value=70))
def test_no_shortened_message_opens(length: int) -> None:
    key = SealingKey(KEY, 1)
    sealed = key.seal(b"some plaintext of a row", BINDING)
    with pytest.raises(SealError):
        key.open(sealed[:length], BINDING)


def test_another_key_of_the_same_version_opens_nothing() -> None:
    sealed = SealingKey(KEY, 1).seal(b"secret", BINDING)
    with pytest.raises(SealError):
        SealingKey(Secret(b"k" * 32), 1).open(sealed, BINDING)


def test_the_header_tells_cipher_and_key_version_without_a_key() -> None:
    header = read_header(SealingKey(KEY, 258).seal(b"secret", BINDING)[:8])
    assert (header.layout, header.key_version, header.cipher) == (1, 258, "XAES-256-GCM")


@pytest.mark.parametrize("start", [b"", b"TR", b"XX\x01\x01aaaa", b"TR\x02\x01aaaa", b"TR\x01\x02aaaa"])
def test_an_unknown_header_is_refused(start: bytes) -> None:
    with pytest.raises(SealError):
        read_header(start)


def test_two_seals_of_the_same_text_differ() -> None:
    key = SealingKey(KEY, 1)
    assert len({key.seal(b"same", BINDING) for _ in range(1000)}) == 1000


def test_a_prefix_serves_a_bounded_number_of_messages_and_minutes() -> None:
    ticker = Ticker()
    key = SealingKey(KEY, 1, monotonic=ticker)
    first = key.seal(b"", BINDING)[8:20]
    ticker.now += 299
    assert key.seal(b"", BINDING)[8:20] == first
    ticker.now += 1
    second = key.seal(b"", BINDING)[8:20]
    assert second != first
    key._seals = 1 << 20  # pyright: ignore[reportPrivateUsage]
    assert key.seal(b"", BINDING)[8:20] != second


def test_derived_keys_are_bounded_and_shared() -> None:
    ticker = Ticker()
    derived = DerivedKeys(limit=3)
    key = SealingKey(KEY, 1, derived=derived, monotonic=ticker)
    messages: list[bytes] = []
    for _ in range(10):
        messages.append(key.seal(b"x", BINDING))
        ticker.now += 301
    assert len(derived) == 3
    assert all(key.open(message, BINDING) == b"x" for message in messages)
    assert len(derived) == 3


def test_no_key_and_no_plaintext_shows_in_a_representation() -> None:
    secret = b"k" * 32
    key = SealingKey(Secret(secret), 1)
    sealed = key.seal(b"plaintext", BINDING)
    with pytest.raises(SealError) as caught:
        key.open(sealed[:-1] + b"x", BINDING)
    shown = f"{key!r} {DerivedKeys()!r} {caught.value!r} {caught.value} {caught.value.detail}"
    assert "kkkk" not in shown
    assert secret.hex() not in shown
    assert "plaintext" not in shown
    assert HEADER_BYTES == 32


def test_a_key_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(SealError):
        SealingKey(Secret(b"k" * 16), 1)
