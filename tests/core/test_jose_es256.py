"""Our ES256 and our reading of base64url agree with the JOSE library's own, for good and for bad input."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from troth.core.jose_es256 import Es256
from troth.core.jose_parts import decode_segment

OURS = Es256()
THEIRS = jws.JWSRegistry(algorithms=["ES256"]).get_alg("ES256")
KEY, OTHER = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
PUBLIC = ECKey.import_key(KEY.as_dict(private=False))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_each_accepts_what_the_other_signed(message: bytes) -> None:
    assert THEIRS.verify(message, OURS.sign(message, KEY), PUBLIC)
    assert OURS.verify(message, THEIRS.sign(message, KEY), PUBLIC)
    assert not OURS.verify(message, OURS.sign(message, OTHER), PUBLIC)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.binary(min_size=64, max_size=64)))
def test_what_is_no_signature_fits_neither(signature: bytes) -> None:
    assert not OURS.verify(b"message", signature, PUBLIC)
    assert not THEIRS.verify(b"message", signature, PUBLIC)


@pytest.mark.parametrize(
    "half",
    [bytes(32), b"\xff" * 32, (1).to_bytes(32, "big")],
    ids=["zero", "beyond-the-order", "one"],
)
def test_numbers_that_no_signature_has_fit_nothing(half: bytes) -> None:
    good = OURS.sign(b"message", KEY)
    for forged in (half + half, half + good[32:], good[:32] + half):
        assert not OURS.verify(b"message", forged, PUBLIC)


def test_a_changed_bit_anywhere_fits_no_more() -> None:
    good = OURS.sign(b"message", KEY)
    for place in range(len(good) * 8):
        changed = bytearray(good)
        changed[place // 8] ^= 1 << (place % 8)
        assert not OURS.verify(b"message", bytes(changed), PUBLIC)
    assert not OURS.verify(b"message", good + b"\0", PUBLIC)
    assert not OURS.verify(b"message", b"\0" + good, PUBLIC)
    assert not OURS.verify(b"messagf", good, PUBLIC)


def test_a_public_key_signs_nothing() -> None:
    with pytest.raises(ValueError, match="private"):
        OURS.sign(b"message", PUBLIC)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=100))
def test_a_segment_reads_back(data: bytes) -> None:
    assert decode_segment(urlsafe_b64encode(data)) == data


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=20),
        st.text("ABCDwxyz0189-_+/=! \n", max_size=12).map(str.encode),
        st.text("AEIMQUYcgkosw048BCD", max_size=9).map(str.encode),
    )
)
def test_a_segment_is_read_as_the_library_reads_it(text: bytes) -> None:
    try:
        expected = urlsafe_b64decode(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            decode_segment(text)
    else:
        assert decode_segment(text) == expected
