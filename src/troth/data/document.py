"""One document and one page of them: their form on the wire, merge patches, projections, cursors.

A document on the wire is its content with one member added, `_meta`, which the server alone sets:

    {"_meta": {"id", "owner", "version", "created_at", "updated_at"}, "title": "…", …}

The content is kept as the JSON text of the object without `_meta`; the two are spliced together, and nothing
is parsed that does not have to be looked into.
"""

import base64
import binascii
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from troth.core.clock import to_wire
from troth.core.errors import Malformed
from troth.data.collections import Content

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

Match = frozenset[int] | None
"""Versions that an If-Match header accepts; None stands for `*`, any version that exists."""


class Document(msgspec.Struct, frozen=True):
    """A document as one caller may see it; `content` is the JSON text of an object."""

    id: UUID
    owner: UUID
    version: int
    created_at: datetime
    updated_at: datetime
    content: bytes

    def to_wire(self) -> bytes:
        """Its JSON, `_meta` first."""
        rest = self.content[1:] if self.content == b"{}" else b"," + self.content[1:]
        created = to_wire(self.created_at)
        updated = created if self.version == 1 else to_wire(self.updated_at)
        return (
            f'{{"_meta":{{"id":"{self.id}","owner":"{self.owner}","version":{self.version},'
            f'"created_at":"{created}","updated_at":"{updated}"}}'
        ).encode() + rest


class Page(msgspec.Struct, frozen=True):
    """One page of a list, the newest first; `after` continues it, None at the end."""

    items: tuple[Document, ...]
    after: str | None

    def to_wire(self) -> bytes:
        """`{"items": […], "next": cursor or null}`."""
        cursor = f'"{self.after}"' if self.after else "null"
        items = b",".join(item.to_wire() for item in self.items)
        return b'{"items":[' + items + b'],"next":' + cursor.encode() + b"}"


def merge(target: object, patch: object) -> Any:
    """RFC 7396: objects merge member by member, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged: Content = dict(cast("Content", target)) if isinstance(target, dict) else {}
    for name, value in cast("Content", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def project(content: bytes, fields: frozenset[str]) -> bytes:
    """The content with these members alone."""
    members = _MEMBERS.decode(content)
    return msgspec.json.encode({name: value for name, value in members.items() if name in fields})


def changed_members(old: Content, new: Content) -> set[str]:
    """Members that differ. `1` and `true` are equal in Python but not in JSON, hence the encoding."""
    return {
        name
        for name in old.keys() | new.keys()
        if (name in old) != (name in new) or _canonical(old[name]) != _canonical(new[name])
    }


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def write_cursor(identifier: UUID) -> str:
    """The cursor of the page that follows this document."""
    return base64.urlsafe_b64encode(identifier.bytes).decode().rstrip("=")


def read_cursor(text: str) -> UUID:
    """A cursor is only a position: a made-up one shows nothing that row-level security would not show."""
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
        return UUID(bytes=raw)
    except (binascii.Error, ValueError):
        raise Malformed("This cursor is not one that a list gave out.") from None
