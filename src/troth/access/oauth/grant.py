"""What a client was granted: a session of its own under the person's session.

It dies with that session, and ending it ends every token of the grant.
"""

from datetime import datetime
from uuid import UUID

import msgspec


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A living grant, as the function that began or renewed it tells of it. `refresh_token` is told this
    once."""

    session: UUID
    person: UUID
    scopes: tuple[str, ...]
    authenticated_at: datetime
    nonce: str = ""
    refresh_token: str = ""


class TokenResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str = ""
    id_token: str = ""
    refresh_token: str = ""
