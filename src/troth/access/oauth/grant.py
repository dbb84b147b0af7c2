"""What a client was granted: a session of its own under the person's session.

It dies with that session, and ending it ends every token of the grant.
"""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from troth.access.oauth.authorization_details import Details
from troth.access.sessions import acr_of


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A living grant, as the function that began or renewed it tells of it. `generation` is that of the
    refresh token to hand out, None for none; `person_scopes` is what the person may do now, told when it is
    renewed."""

    session: UUID
    person: UUID
    scopes: tuple[str, ...]
    authenticated_at: datetime
    amr: tuple[str, ...]
    details: Details = ()
    nonce: str = ""
    generation: int | None = None
    person_scopes: tuple[str, ...] = ()
    refresh_token: str = ""

    @property
    def acr(self) -> str:
        """How much the person had proved (RFC 9470)."""
        return acr_of(self.amr)


class TokenResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 6749 section 5.1, RFC 9396 section 7."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str = ""
    id_token: str = ""
    refresh_token: str = ""
    authorization_details: Details = ()


def read_grant(row: asyncpg.Record) -> Grant:
    """The grant of a `troth.grant_told` whose outcome is good."""
    return Grant(
        session=row["session_id"],
        person=row["person_id"],
        scopes=tuple(row["scopes"]),
        authenticated_at=row["authenticated_at"],
        amr=tuple(row["amr"]),
        details=msgspec.json.decode(row["details"], type=Details) if row["details"] else (),
        nonce=row["nonce"] or "",
        generation=row["generation"],
        person_scopes=tuple(row["person_scopes"] or ()),
    )


def outcome_of(row: asyncpg.Record | None) -> str:
    """What a function said, for the log."""
    return "no answer" if row is None else str(row["outcome"])
