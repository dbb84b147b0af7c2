"""Documents: sealed before they leave Python, opened after they return, one round trip an operation."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, cast
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from troth.core.db import Database
from troth.core.errors import (
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unauthenticated,
    Unprocessable,
)
from troth.core.scope import Action
from troth.data.collections import BODY_BYTES, Collection, Collections, Content
from troth.data.document import (
    Document,
    Match,
    Page,
    changed_members,
    merge,
    project,
    read_cursor,
    write_cursor,
)
from troth.data.grants import Caller, denied
from troth.data.keys import KeyRing, TenantKeys
from troth.data.reading import ReadQueue

PURPOSE: Final = "document"
KEEP_ANSWERS: Final = timedelta(hours=24)
"""How long a repeated request with the same Idempotency-Key gets the first one's answer."""

PAGE: Final = 20
LONGEST_PAGE: Final = 100

_LIST = "select * from troth.document_list($1, $2, $3, $4, $5, $6, $7, $8)"
_CREATE = "select * from troth.document_create($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_UPDATE = "select * from troth.document_update($1, $2, $3, $4, $5, $6, $7, $8)"
_DELETE = "select * from troth.document_delete($1, $2, $3, $4, $5, $6, $7)"


class IdempotencyKeyReused(Unprocessable):
    """The key came with another request before (draft-ietf-httpapi-idempotency-key-header section 2.7)."""

    code = "idempotency_key_reused"
    title = "This Idempotency-Key belongs to another request"


class Documents:
    """The collections' documents. Every method raises RequestError's children and nothing else on purpose:
    Unauthenticated (the session ended), Denied, NotFound, PreconditionFailed, Unprocessable, Unavailable."""

    def __init__(self, database: Database, ring: KeyRing, collections: Collections) -> None:
        self._database = database
        self._ring = ring
        self._collections = collections
        self._reads = ReadQueue(database)

    def collection(self, name: str) -> Collection:
        """The collection. Raises NotFound."""
        found = self._collections.get(name)
        if found is None:
            raise NotFound("There is no such collection.")
        return found

    async def read(self, caller: Caller, collection: str, identifier: UUID) -> Document:
        """One document, with the fields that the caller may read."""
        fields = caller.grants.need(self.collection(collection).name, "read").fields
        row, content = await self._fetch(caller, collection, identifier, "read")
        return _document(row, content if fields is None else project(content, fields))

    async def list(
        self, caller: Caller, collection: str, *, after: str | None = None, limit: int = PAGE
    ) -> Page:
        """Up to `limit` documents after the cursor `after`. Raises Malformed for a cursor that is none."""
        allowed = caller.grants.need(self.collection(collection).name, "read")
        before = None if after is None else read_cursor(after)
        rows = await self._database.fetch(
            _LIST, *_context(caller, collection), before, allowed.own, limit + 1
        )
        _check_session(rows)
        shown = rows[:limit]
        items: list[Document] = []
        for row in shown:
            content = await self._open(caller.tenant, collection, row["id"], row)
            items.append(_document(row, project(content, allowed.fields) if allowed.fields else content))
        return Page(tuple(items), write_cursor(shown[-1]["id"]) if len(rows) > limit else None)

    async def create(
        self, caller: Caller, collection: str, content: Content, *, key: bytes | None = None
    ) -> Document:
        """Store a document that belongs to the caller. With an idempotency `key`, a repeated request gets
        the first one's answer; raises IdempotencyKeyReused when the key came with other content."""
        checked = self.collection(collection)
        fields = caller.grants.need(collection, "create").fields
        _check_fields(collection, "create", fields, content)
        checked.check(content)
        plaintext = _encode(content)
        keys = await self._ring.keys(caller.tenant)
        identifier = uuid7()
        sealed = keys.seal(PURPOSE, plaintext, *_place(collection, identifier, 1))
        macs = (None, None) if key is None else _macs(keys, collection, key, content)
        row = await self._write(
            caller, collection, "create", _CREATE, identifier, sealed, *macs, KEEP_ANSWERS, idempotent=True
        )
        if row["outcome"] == "key_reused":
            raise IdempotencyKeyReused("Use a new Idempotency-Key for a new request.")
        at = row["created_at"]
        return self._shown(caller, collection, Document(row["id"], caller.person, 1, at, at, plaintext))

    async def replace(
        self, caller: Caller, collection: str, identifier: UUID, content: Content, match: Match
    ) -> Document:
        """Put new content in place of the old, if the version still matches."""
        checked = self.collection(collection)
        fields = caller.grants.need(collection, "update").fields
        if fields is None and match is not None and len(match) == 1:
            checked.check(content)
            return await self._update(caller, collection, identifier, next(iter(match)), content)
        old, version = await self._matching(caller, collection, identifier, match)
        _check_fields(collection, "update", fields, changed_members(old, content))
        checked.check(content)
        return await self._update(caller, collection, identifier, version, content)

    async def patch(
        self, caller: Caller, collection: str, identifier: UUID, patch: Content, match: Match
    ) -> Document:
        """Apply a JSON merge patch (RFC 7396), if the version still matches."""
        checked = self.collection(collection)
        _check_fields(collection, "update", caller.grants.need(collection, "update").fields, patch)
        old, version = await self._matching(caller, collection, identifier, match)
        content = merge(old, patch)
        checked.check(content)
        return await self._update(caller, collection, identifier, version, content)

    async def delete(self, caller: Caller, collection: str, identifier: UUID, match: Match) -> None:
        """Remove a document; `match` None removes whatever version there is."""
        caller.grants.need(self.collection(collection).name, "delete")
        versions = None if match is None else list(match)
        await self._write(caller, collection, "delete", _DELETE, identifier, versions, idempotent=False)

    async def _fetch(
        self, caller: Caller, collection: str, identifier: UUID, action: Action
    ) -> tuple[Any, bytes]:
        row = await self._reads.ask((*_context(caller, collection), identifier, action))
        if row is None:
            raise _missing()
        _check_session((row,))
        # Opened as what was asked for, not as what came: an answer that went astray opens nothing.
        return row, await self._open(caller.tenant, collection, identifier, row)

    async def _matching(
        self, caller: Caller, collection: str, identifier: UUID, match: Match
    ) -> tuple[Content, int]:
        """The stored content and version that a change is based on. Raises PreconditionFailed."""
        try:
            row, content = await self._fetch(caller, collection, identifier, "update")
        except NotFound:
            if caller.grants.find(collection, "read"):
                await self._fetch(caller, collection, identifier, "read")
                raise denied(collection, "update") from None
            raise
        if match is not None and row["version"] not in match:
            raise _stale(row["version"])
        return cast("Content", msgspec.json.decode(content)), row["version"]

    async def _update(
        self, caller: Caller, collection: str, identifier: UUID, version: int, content: Content
    ) -> Document:
        plaintext = _encode(content)
        keys = await self._ring.keys(caller.tenant)
        sealed = keys.seal(PURPOSE, plaintext, *_place(collection, identifier, version + 1))
        row = await self._write(
            caller, collection, "update", _UPDATE, identifier, version, sealed, idempotent=True
        )
        changed = Document(
            identifier, row["owner"], row["version"], row["created_at"], row["updated_at"], plaintext
        )
        return self._shown(caller, collection, changed)

    async def _write(
        self,
        caller: Caller,
        collection: str,
        action: Action,
        query: str,
        *args: object,
        idempotent: bool,
    ) -> Any:
        """The row that a writing function answered with; its refusals are raised."""
        try:
            row = await self._database.fetchrow(
                query, *_context(caller, collection), *args, idempotent=idempotent
            )
        except asyncpg.InsufficientPrivilegeError:
            # The row-level policies said no where the checks above had said yes.
            raise denied(collection, action) from None
        if row is None:
            raise _missing()
        _check_session((row,))
        if row["outcome"] == "stale":
            raise _stale(row["version"])
        if row["outcome"] == "denied":
            raise denied(collection, action)
        return row

    async def _open(self, tenant: UUID, collection: str, identifier: UUID, row: Any) -> bytes:
        sealed: bytes = row["sealed"]
        keys = self._ring.cached(tenant) or await self._ring.keys(tenant)
        if not keys.knows(int.from_bytes(sealed[4:8], "big")):
            keys = await self._ring.keys_for(tenant, sealed)
        return keys.open(PURPOSE, sealed, *_place(collection, identifier, row["version"]))

    def _shown(self, caller: Caller, collection: str, document: Document) -> Document:
        """A document that was just written, cut down to what its writer may read back."""
        allowed = caller.grants.find(collection, "read")
        if allowed is None or (allowed.own and document.owner != caller.person):
            return msgspec.structs.replace(document, content=b"{}")
        if allowed.fields is None:
            return document
        return msgspec.structs.replace(document, content=project(document.content, allowed.fields))


def _context(caller: Caller, collection: str) -> tuple[UUID, UUID, UUID, str, str]:
    return caller.session, caller.tenant, caller.person, caller.grants.rows, collection


def _place(collection: str, identifier: UUID, version: int) -> tuple[bytes, bytes, bytes]:
    """Where a sealed row belongs: it opens nowhere else."""
    return collection.encode(), identifier.bytes, version.to_bytes(8, "big")


def _macs(keys: TenantKeys, collection: str, key: bytes, content: Content) -> tuple[bytes, bytes]:
    request = collection.encode() + b"\0" + msgspec.json.encode(content, order="deterministic")
    return keys.index("idempotency key", key), keys.index("idempotent request", request)


def _document(row: Any, content: bytes) -> Document:
    return Document(row["id"], row["owner"], row["version"], row["created_at"], row["updated_at"], content)


def _check_fields(
    collection: str, action: Action, fields: frozenset[str] | None, written: Iterable[str]
) -> None:
    if fields is None:
        return
    for name in sorted(written):
        if name not in fields:
            raise denied(collection, action, name[:60])


def _encode(content: Content) -> bytes:
    plaintext = msgspec.json.encode(content)
    if len(plaintext) > BODY_BYTES:
        raise TooLarge(f"A document holds at most {BODY_BYTES // 1024} KiB of JSON.")
    return plaintext


def _check_session(rows: Iterable[Any]) -> None:
    for row in rows:
        if row["outcome"] == "session_ended":
            raise Unauthenticated("The session of this access token has ended.", error="invalid_token")
        return


def _missing() -> NotFound:
    return NotFound("There is no such document.")


def _stale(version: int) -> PreconditionFailed:
    return PreconditionFailed(f"The document has version {version} by now; read it again and decide.")
