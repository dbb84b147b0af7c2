"""Sealing against the bare cipher under it: `python -m bench.sealing`.

Ours is the whole envelope: random nonce, header, binding to tenant, collection, id and version. Against it
stands `AESGCM` of `cryptography` with a fresh random nonce and the same associated data, nothing else.
"""

import os
import time
from collections.abc import Callable
from uuid import uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.results import Entry, entry, record
from troth.core.secret import Secret
from troth.data.sealing import SealingKey, bind

ROUNDS = 9
TENANT, DOCUMENT = uuid4(), uuid4()
PLACE = (b"tickets", DOCUMENT.bytes, (1).to_bytes(8, "big"))


def rate(work: Callable[[], object], count: int) -> float:
    """Calls a second."""
    started = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - started)


def compare(name: str, size: int, count: int, aim: float) -> tuple[Entry, Entry]:
    """Sealing and opening a text of this size."""
    text = os.urandom(size)
    key, bare = SealingKey(Secret(os.urandom(32)), 1), AESGCM(os.urandom(32))
    associated = bind("document", TENANT, *PLACE)
    sealed, nonce = key.seal(text, associated), os.urandom(12)
    encrypted = bare.encrypt(nonce, text, associated)
    seals: list[tuple[float, float]] = []
    opens: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        seals.append(
            (
                rate(lambda: key.seal(text, bind("document", TENANT, *PLACE)), count),
                rate(lambda: bare.encrypt(os.urandom(12), text, associated), count),
            )
        )
        opens.append(
            (
                rate(lambda: key.open(sealed, bind("document", TENANT, *PLACE)), count),
                rate(lambda: bare.decrypt(nonce, encrypted, associated), count),
            )
        )
    return (
        entry(f"sealing.{name}", seals, aim=aim, unit="messages/s"),
        entry(f"sealing.{name}-opened", opens, aim=aim, unit="messages/s"),
    )


def main() -> None:
    """Measure, print, and note the result."""
    record(*compare("document", 800, 20_000, aim=0.2), *compare("bulk", 1024 * 1024, 100, aim=0.6))


if __name__ == "__main__":
    main()
