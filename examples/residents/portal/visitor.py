"""Who is asking: everything the edge said about a request, read once.

The edge has checked the session, and drops headers of these names that a browser sends itself; so they can be
believed. There is no cookie here to read, and no key to check anything with.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers

from .colours import FALLBACK, accept_colour


@dataclass(frozen=True, slots=True)
class Visitor:
    """One request's person, brand and token. `host` is the client domain with its port; `token` is empty
    before sign-in; `person` is a display name; `scopes` and `subject` are what the token says."""

    host: str
    token: str
    person: str
    brand: str
    colour: str
    tenant: str
    request_id: str
    languages: str
    subject: str
    scopes: frozenset[str]
    traceparent: str = ""

    @property
    def first_name(self) -> str:
        return self.person.split(" ")[0]

    @property
    def initials(self) -> str:
        """One or two letters for the round badge."""
        parts = self.person.split()
        return "".join(part[0].upper() for part in (parts[:1] + parts[1:][-1:])) or "–"

    def may(self, scope: str) -> bool:
        """Whether to offer something. `scope` is `collection:action`, for all rows and all fields.

        It decides what is drawn, never what is allowed: the API asks the same question of the token itself,
        and of the database, at every call.
        """
        if scope in self.scopes:
            return True
        # What one creates is one's own anyway; which of its fields one may fill in is the API's to say.
        own = f"{scope}:own"
        return scope.endswith(":create") and any(
            one == own or one.startswith(f"{own}:") for one in self.scopes
        )

    def may_correct(self, owner: str) -> bool:
        """Whether a ticket of `owner` is this person's own to put right (`tickets:update:own:…`)."""
        own = any(scope.startswith("tickets:update:own") for scope in self.scopes)
        return own and bool(owner) and owner == self.subject

    @property
    def manages_tickets(self) -> bool:
        return self.may("tickets:update")

    @property
    def manages_announcements(self) -> bool:
        return self.may("announcements:create")


def read_visitor(headers: Headers) -> Visitor:
    """From the headers the edge sets (README, "What the application receives")."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else ""
    claims = _read_claims(token)
    return Visitor(
        host=headers.get("host", ""),
        token=token,
        person=_text(headers, "x-troth-person"),
        brand=_text(headers, "x-troth-brand-name"),
        colour=accept_colour(headers.get("x-troth-brand-colour", "")) or FALLBACK,
        tenant=_text(headers, "x-troth-tenant"),
        request_id=headers.get("x-request-id", "")[:64],
        languages=headers.get("accept-language", "")[:200],
        subject=str(claims.get("sub", "")),
        scopes=frozenset(str(claims.get("scope", "")).split()),
        traceparent=headers.get("traceparent", "")[:64],
    )


def _text(headers: Headers, name: str) -> str:
    """A header's text, percent-encoded UTF-8 (HTTP itself carries ASCII alone)."""
    return unquote(headers.get(name, ""))[:120]


def _read_claims(token: str) -> dict[str, Any]:
    """The token's payload, unverified: good for choosing which buttons to draw and for nothing else."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return dict(json.loads(payload))
    except (binascii.Error, RecursionError, TypeError, ValueError):
        return {}
