"""Sealing: the one envelope in which customer data leaves Python, and the one importer of the cipher.

XAES-256-GCM (https://c2sp.org/XAES-256-GCM): the first 96 bits of a 192-bit nonce select a derived
AES-256-GCM key (NIST SP 800-108r1, CMAC in counter mode), the other 96 bits are the nonce under it. Random
nonces therefore do not run out, as they would after 2^32 messages with plain AES-GCM.

Envelope, version 1 (numbers are big-endian):

    offset  0  "TR"                    magic
            2  1                       version of this layout
            3  1                       algorithm: XAES-256-GCM
            4  key version             u32
            8  prefix                  12 bytes, selects the derived key
           20  nonce                   12 bytes, under the derived key
           32  ciphertext and tag      plaintext + 16 bytes

The header is authenticated together with what the message is *for* (`bind`): a sealed row that is moved to
another tenant, collection, id or version does not open.
"""

import io
import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from troth.core.errors import TrothError
from troth.core.secret import Secret

MAGIC: Final = b"TR"
LAYOUT: Final = 1
XAES_256_GCM: Final = 1
HEADER_BYTES: Final = 32
OVERHEAD_BYTES: Final = HEADER_BYTES + 16
KEY_BYTES: Final = 32

_START: Final = struct.Struct(">2sBBI")
_PREFIX_SEALS: Final = 1 << 20
_PREFIX_SECONDS: Final = 300.0
_LARGE: Final = 16 * 1024
"""From here on a second copy of the message costs more than the cipher: fresh pages have to be mapped."""


class SealError(TrothError):
    """Sealed bytes did not open: they, their place or the key are not the right ones. Never says which.

    An answer that told a wrong tag from a wrong length would be an oracle for whoever can write to the disk.
    """

    def __init__(self, *, detail: str = "") -> None:
        super().__init__("Stored data could not be opened.", detail=detail)


class Header(msgspec.Struct, frozen=True):
    """What a sealed message says about itself, readable without any key."""

    layout: int
    algorithm: int
    key_version: int

    @property
    def cipher(self) -> str:
        """Name and key length, for the factsheet."""
        return "XAES-256-GCM" if self.algorithm == XAES_256_GCM else f"unknown ({self.algorithm})"


def read_header(sealed: bytes) -> Header:
    """The header of a sealed message; its first 8 bytes are enough. Raises SealError when there is none."""
    if len(sealed) < _START.size:
        raise SealError(detail="too short for a header")
    magic, layout, algorithm, key_version = _START.unpack_from(sealed)
    if magic != MAGIC or layout != LAYOUT or algorithm != XAES_256_GCM:
        raise SealError(detail="not a header this version knows")
    return Header(layout, algorithm, key_version)


def bind(purpose: str, tenant: UUID, *context: bytes) -> bytes:
    """What a message is for, as associated data.

    Every part is preceded by its length: without that, ("a", "bc") and ("ab", "c") would be the same and a
    row of one collection could be passed off as one of another.
    """
    parts = (purpose.encode(), tenant.bytes, *context)
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def derive(key: bytes, prefix: bytes) -> bytes:
    """The AES-256 key that XAES-256-GCM uses for nonces beginning with these 12 bytes."""
    return KBKDFCMAC(
        algorithm=AES,
        mode=Mode.CounterMode,
        length=KEY_BYTES,
        rlen=2,
        llen=None,
        location=CounterLocation.BeforeFixed,
        label=None,
        context=None,
        fixed=b"X\x00" + prefix,
    ).derive(key)


class DerivedKeys:
    """The last `limit` derived keys used for opening, over all tenants; the least recently used goes."""

    __slots__ = ("_keys", "_limit")

    def __init__(self, limit: int = 4096) -> None:
        self._keys: OrderedDict[tuple[int, bytes], AESGCM] = OrderedDict()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"DerivedKeys({len(self._keys)} of {self._limit})"

    def get(self, owner: int, prefix: bytes) -> AESGCM | None:
        found = self._keys.get((owner, prefix))
        if found is not None:
            self._keys.move_to_end((owner, prefix))
        return found

    def put(self, owner: int, prefix: bytes, key: AESGCM) -> None:
        self._keys[owner, prefix] = key
        if len(self._keys) > self._limit:
            self._keys.popitem(last=False)


class SealingKey:
    """One version of one key. Seals and opens; shows itself in no `repr`.

    A prefix and its derived key serve at most 2^20 messages or five minutes of one process: with 96 random
    bits for each message the chance that a nonce returns under one derived key stays below 2^-56.
    """

    __slots__ = (
        "_derived",
        "_key",
        "_monotonic",
        "_prefix",
        "_sealer",
        "_seals",
        "_serial",
        "_start",
        "_until",
        "version",
    )

    _next_serial = 0

    def __init__(
        self,
        key: Secret,
        version: int,
        *,
        derived: DerivedKeys | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(key.reveal()) != KEY_BYTES:
            raise SealError(detail="a key has the wrong length")
        self.version = version
        self._key = key
        self._derived = derived if derived is not None else DerivedKeys()
        self._monotonic = monotonic
        self._start = _START.pack(MAGIC, LAYOUT, XAES_256_GCM, version)
        self._serial = SealingKey._next_serial
        SealingKey._next_serial += 1
        self._sealer: AESGCM | None = None
        self._prefix = b""
        self._seals = 0
        self._until = 0.0

    def __repr__(self) -> str:
        return f"SealingKey(version={self.version})"

    def seal(self, plaintext: bytes, binding: bytes) -> bytes:
        """Seal a message for the purpose named by `binding` (see `bind`)."""
        cipher = self._current()
        nonce = os.urandom(12)
        header = self._start + self._prefix + nonce
        if len(plaintext) < _LARGE:
            return header + cipher.encrypt(nonce, plaintext, header + binding)
        return _encrypt_in_place(cipher, nonce, plaintext, header, binding)

    def open(self, sealed: bytes, binding: bytes) -> bytes:
        """Open a message sealed for `binding`. Raises SealError on any failure."""
        header = sealed[:HEADER_BYTES]
        if len(sealed) < OVERHEAD_BYTES or header[:8] != self._start:
            raise SealError(detail="too short, or sealed under another key version")
        body = sealed[HEADER_BYTES:] if len(sealed) < _LARGE else memoryview(sealed)[HEADER_BYTES:]
        try:
            return self._cipher(header[8:20]).decrypt(header[20:], body, header + binding)
        except InvalidTag:
            raise SealError(detail="the tag does not fit") from None

    def _current(self) -> AESGCM:
        now = self._monotonic()
        if self._sealer is None or self._seals >= _PREFIX_SEALS or now >= self._until:
            self._prefix = os.urandom(12)
            self._sealer = self._cipher(self._prefix)
            self._seals = 0
            self._until = now + _PREFIX_SECONDS
        self._seals += 1
        return self._sealer

    def _cipher(self, prefix: bytes) -> AESGCM:
        cipher = self._derived.get(self._serial, prefix)
        if cipher is None:
            cipher = AESGCM(derive(self._key.reveal(), prefix))
            self._derived.put(self._serial, prefix, cipher)
        return cipher


def _encrypt_in_place(cipher: AESGCM, nonce: bytes, plaintext: bytes, header: bytes, binding: bytes) -> bytes:
    """Header and ciphertext written into one buffer, which `getvalue` hands over without a copy."""
    buffer = io.BytesIO()
    buffer.seek(len(plaintext) + OVERHEAD_BYTES - 1)
    buffer.write(b"\0")
    with buffer.getbuffer() as view:
        view[:HEADER_BYTES] = header
        with view[HEADER_BYTES:] as rest:
            cipher.encrypt_into(nonce, plaintext, header + binding, rest)
    return buffer.getvalue()
