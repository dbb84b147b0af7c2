"""Recovery codes: for whoever has lost the other factor. Shown once, kept as hashes, each good once.

A code has 120 random bits, so one SHA-256 is enough and cannot be searched.
"""

import base64
import hashlib
import secrets
from uuid import UUID

from troth.access.errors import FactorRefused
from troth.access.tenants import Domain
from troth.core.db import Database

COUNT = 10

_BYTES = 15


class RecoveryCodes:
    """Makes and consumes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def renew(self, domain: Domain, person: UUID, *, request: str = "") -> tuple[str, ...]:
        """New codes, told this once; whatever codes there were are good for nothing any more."""
        codes = tuple(_new_code() for _ in range(COUNT))
        await self._database.execute(
            "select troth.set_recovery_codes($1, $2, $3, $4)",
            domain.name,
            person,
            [_hash(code) for code in codes],
            request,
            idempotent=True,
        )
        return codes

    async def accept(self, domain: Domain, person: UUID, code: str, *, request: str = "") -> None:
        """Use a code up. Raises FactorRefused when it is none of this person's."""
        used = await self._database.fetchval(
            "select troth.use_recovery_code($1, $2, $3, $4)",
            domain.name,
            person,
            _hash(code),
            request,
            idempotent=False,
        )
        if not used:
            raise FactorRefused("The code does not fit.", detail="recovery code")


def _new_code() -> str:
    """24 letters and digits of base32 in groups of four."""
    text = base64.b32encode(secrets.token_bytes(_BYTES)).decode()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _hash(code: str) -> bytes:
    """Of the code as it was meant: in capitals, without what stands between the groups."""
    letters = "".join(letter for letter in code[:200].upper() if letter.isalnum())
    return hashlib.sha256(b"recovery:" + letters.encode("utf-8", "replace")).digest()
