"""What access needs of other rooms; `wiring` supplies it."""

from typing import Protocol
from uuid import UUID


class Sealer(Protocol):
    """Seals bytes under keys of one tenant (AES-256-GCM under the tenant key under the root key).

    `purpose` separates kinds of data ("profile", "signing-key"): what was sealed for one opens for no other.
    `context` is bound as additional data: a sealed value moved to another row does not open there.
    """

    async def seal(self, tenant: UUID, purpose: str, plaintext: bytes, context: bytes) -> bytes:
        """The sealed value, with its own version header."""
        ...

    async def open(self, tenant: UUID, purpose: str, sealed: bytes, context: bytes) -> bytes:
        """The plaintext. Raises when the value was changed, moved, or sealed for something else."""
        ...

    async def blind_index(self, tenant: UUID, purpose: str, value: bytes) -> bytes:
        """HMAC-SHA-256 of `value` under a key derived from the tenant key: finds equals, shows nothing."""
        ...
