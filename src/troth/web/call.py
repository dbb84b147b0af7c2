"""One request to the data API, read only as far as it is needed, and strictly."""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from troth.core.errors import Malformed, NotFound, PreconditionRequired, TooLarge, UnsupportedMedia
from troth.data.collections import BODY_BYTES, Content, read_object
from troth.data.document import Match
from troth.data.documents import LONGEST_PAGE, PAGE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_IDENTIFIER = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_STRONG_TAG = re.compile(r'(?<!W/)"([\x21\x23-\x7e]{1,64})"')
_STRONG_VERSION = re.compile(r'(?<!W/)"([1-9][0-9]{0,17})"')
_ANY_VERSION = re.compile(r'"([1-9][0-9]{0,17})"')
_KEY = re.compile(r"[\x20-\x7e]{1,255}")
JSON = ("application/json",)
MERGE_PATCH = ("application/merge-patch+json", "application/json")


class Call:
    """One request, read only as far as it is needed."""

    __slots__ = ("_receive", "_scope", "bearer", "headers", "path")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.path: Mapping[str, str] = scope["path_params"]
        self.bearer: tuple[UUID, str] | None = None
        """Session and client of the access token, once it was verified."""

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def once(self, name: bytes) -> str | None:
        """A header that two readers must not read differently. Raises Malformed when it occurs twice."""
        if name in self.headers and sum(each == name for each, _ in self._scope["headers"]) > 1:
            raise Malformed(f"{name.decode().title()} may occur once.")
        return self.header(name)

    @property
    def method(self) -> str:
        return self._scope["method"]

    @property
    def target(self) -> str:
        """The path as it was sent, which is what a proof is about."""
        raw: bytes | None = self._scope.get("raw_path")
        return raw.decode("latin-1").partition("?")[0] if raw else self._scope["path"]

    @property
    def domain(self) -> str:
        """The client domain that was asked, without port."""
        return (self.header(b"host") or "").lower().rsplit(":", 1)[0]

    @property
    def collection(self) -> str:
        return self.path["collection"]

    @property
    def identifier(self) -> UUID:
        """Raises NotFound for what is no id: it names nothing."""
        text = self.path["id"]
        if not _IDENTIFIER.fullmatch(text):
            raise NotFound("There is no such document.")
        return UUID(text)

    def page(self) -> tuple[str | None, int]:
        """The cursor and the length of the page asked for. Raises Malformed."""
        query: bytes = self._scope["query_string"]
        if not query:
            return None, PAGE
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=8)
        asked = dict(pairs)
        if len(asked) != len(pairs) or asked.keys() - {"after", "limit"}:
            raise Malformed("A list takes the parameters `after` and `limit`, each once.")
        limit = asked.get("limit", str(PAGE))
        if not re.fullmatch(r"[1-9][0-9]{0,2}", limit) or int(limit) > LONGEST_PAGE:
            raise Malformed(f"`limit` is a number from 1 to {LONGEST_PAGE}.")
        return asked.get("after"), int(limit)

    def match(self) -> Match:
        """The versions that If-Match accepts (RFC 9110 section 13.1.1; weak tags never match)."""
        text = self.header(b"if-match")
        if text is None:
            raise PreconditionRequired("Send If-Match with the ETag of the version that you read.")
        if text.strip() == "*":
            return None
        if not _TAGS.fullmatch(text):
            raise Malformed("If-Match is not a list of entity tags.")
        return frozenset(int(version) for version in _STRONG_VERSION.findall(text))

    def tags(self) -> tuple[str, ...] | None:
        """The strong entity tags of If-Match, without their quotes; None for `*`."""
        text = self.header(b"if-match")
        if text is None:
            raise PreconditionRequired("Send If-Match with the ETag of the version that you read.")
        if text.strip() == "*":
            return None
        if not _TAGS.fullmatch(text):
            raise Malformed("If-Match is not a list of entity tags.")
        return tuple(_STRONG_TAG.findall(text))

    def knows(self, version: int) -> bool:
        """Whether If-None-Match names this version (section 13.1.2, weak comparison)."""
        text = self.header(b"if-none-match")
        if text is None:
            return False
        return text.strip() == "*" or str(version) in _ANY_VERSION.findall(text)

    def key(self) -> bytes | None:
        """The Idempotency-Key, a quoted string (RFC 8941) or a bare one. Raises Malformed."""
        text = self.header(b"idempotency-key")
        if text is None:
            return None
        if len(text) > 2 and text[0] == text[-1] == '"':
            text = text[1:-1]
        if not _KEY.fullmatch(text):
            raise Malformed("An Idempotency-Key has 1 to 255 printable ASCII characters.")
        return text.encode()

    async def content(self, kinds: tuple[str, ...]) -> Content:
        """The body as a JSON object. Raises UnsupportedMedia, TooLarge or Malformed."""
        kind = (self.header(b"content-type") or "").split(";", 1)[0].strip().lower()
        if kind not in kinds:
            raise UnsupportedMedia(f"Send the body as {' or '.join(kinds)}.")
        if (self.header(b"content-encoding") or "identity").lower() != "identity":
            raise UnsupportedMedia("Send the body without Content-Encoding.")
        return read_object(await self._body())

    async def _body(self) -> bytes:
        """At most `BODY_BYTES`: reading stops at the first chunk beyond, whatever Content-Length says."""
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > BODY_BYTES:
            raise _too_large()
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Malformed("The body ended early.")
            body += message.get("body", b"")
            if len(body) > BODY_BYTES:
                raise _too_large()
            if not message.get("more_body", False):
                return bytes(body)


def _too_large() -> TooLarge:
    return TooLarge(f"A body has at most {BODY_BYTES // 1024} KiB.")
