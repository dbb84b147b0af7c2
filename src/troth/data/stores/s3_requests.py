"""Single requests to an S3 store: signed, verified by checksum, bounded in time, and errors in words.

What a resumed upload, a lock and a real deletion need, and obstore does not offer. Addresses are path-style,
which every S3-compatible store understands.
"""

import base64
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx

from troth.core.clock import Clock
from troth.data.stores.bandwidth import Throttle
from troth.data.stores.signing import Signer, encode_path, encode_query, sign
from troth.data.stores.store import StoreError
from troth.data.stores.waiting import Patience, retried, unreachable

ANSWER_LIMIT: Final = 4 * 1024 * 1024
"""A list of a thousand entries is below 1 MiB; a store that sends more is not listened to."""

_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_SENT_BYTES: Final = 64 * 1024
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")

_HINTS: Final = {
    "NoSuchBucket": "Make the bucket, or correct its name in [backup] store.",
    "InvalidAccessKeyId": "Correct the credentials that [backup] names.",
    "SignatureDoesNotMatch": "Correct the credentials that [backup] names.",
    "RequestTimeTooSkewed": "Set the clock of this machine.",
    "AccessDenied": "Allow these credentials to list, read, write and delete in this bucket.",
    "QuotaExceeded": "The store is full: raise its quota or shorten how long backups are kept.",
}


class Answer:
    """Status, headers and a small body."""

    __slots__ = ("body", "code", "headers", "status")

    def __init__(self, status: int, headers: httpx.Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        found = _CODE.search(body[:4096].decode(errors="replace")) if status >= 400 else None
        self.code = found.group(1) if found else str(status)

    def xml(self) -> ElementTree.Element:
        """The body without namespaces. Raises StoreError when it is no XML."""
        try:
            # Bounded in size; expat 2.4 and later refuses entities that grow, and external ones are not read.
            root = ElementTree.fromstring(self.body)  # noqa: S314
        except ElementTree.ParseError:
            raise StoreError("The backup store answered something that is not S3.", hint=_ENDPOINT) from None
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root


_ENDPOINT = "Look whether [backup] endpoint is the address of an S3 store."


class S3Requests:
    """An HTTPS client for one bucket."""

    def __init__(
        self,
        endpoint: str,
        bucket: str,
        signer: Signer,
        *,
        clock: Clock,
        ca: Path | None,
        patience: Patience,
        throttle: Throttle,
    ) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._host = urlsplit(endpoint).netloc
        self._bucket = bucket
        self._signer = signer
        self._clock = clock
        self._patience = patience
        self._throttle = throttle
        context = ssl.create_default_context()
        if ca is not None:
            context.load_verify_locations(cafile=str(ca))
        self._client = httpx.AsyncClient(verify=context, timeout=patience.seconds, follow_redirects=False)

    def __repr__(self) -> str:
        return f"S3Requests({self._endpoint}, {self._bucket})"

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        accept: frozenset[str] = frozenset(),
    ) -> Answer:
        """Send a request, again while the store says that it will pass. Raises StoreError for a refusal,
        unless its code (`NoSuchUpload`, or the bare status) is in `accept`; Unreachable without an answer."""
        answer = await retried(
            self._patience, lambda: self._once(method, key, query or {}, headers or {}, body)
        )
        if answer.status < 300 or answer.code in accept:
            return answer
        raise StoreError(
            f"The backup store {self._host} refused {method} in the bucket {self._bucket}: {answer.code}.",
            hint=_HINTS.get(answer.code, _ENDPOINT if answer.status < 400 else ""),
        )

    async def _once(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        path = f"/{self._bucket}/{key}" if key else f"/{self._bucket}"
        what = f"The backup store {self._host}"
        sent = sign(
            self._signer,
            method,
            self._host,
            path,
            query,
            headers,
            hashlib.sha256(body).hexdigest(),
            self._clock.now(),
        )
        url = f"{self._endpoint}{encode_path(path)}" + (f"?{encode_query(query)}" if query else "")
        sent["content-length"] = str(len(body))
        request = self._client.build_request(method, url, headers=sent, content=self._trickle(body))
        try:
            response = await self._client.send(request, stream=True)
            try:
                answer = Answer(response.status_code, response.headers, await _read(response))
            finally:
                await response.aclose()
        except httpx.TimeoutException:
            raise unreachable(what, f"no answer within {self._patience.seconds:g} s") from None
        except httpx.TransportError as error:
            raise unreachable(what, _reason(error)) from error
        if answer.status in _PASSING:
            raise unreachable(what, f"it answered {answer.code}")
        return answer

    async def _trickle(self, body: bytes) -> AsyncIterator[bytes]:
        """In small pieces: a slow line is then told from a dead one, and the bandwidth is kept evenly."""
        for at in range(0, len(body), _SENT_BYTES):
            piece = body[at : at + _SENT_BYTES]
            await self._throttle.passing(len(piece))
            yield piece


def checksum(body: bytes) -> dict[str, str]:
    """The header that lets the store refuse what arrived otherwise than it was sent; a lock demands it."""
    return {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode()}


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise StoreError("The backup store answered more than it was asked for.", hint=_ENDPOINT)
    return bytes(body)


def _reason(error: httpx.TransportError) -> str:
    """httpx's own words where it has some: a certificate that does not fit is worth telling."""
    return str(error)[:200] or type(error).__name__
