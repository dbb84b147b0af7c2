"""Objects in parts: sent side by side, and after a kill only those that the store has not yet.

No note of an upload is kept on this side. The store is asked which parts it has; a part is skipped when its
checksum is that of the bytes at hand, so that a resumed upload of something else cannot mix the two.
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Final
from xml.etree import ElementTree

import msgspec

from troth.data.stores.s3_requests import Answer, S3Requests, checksum
from troth.data.stores.store import Stored, StoreError, Tally

PART_BYTES: Final = 16 * 1024 * 1024
PARTS_LIMIT: Final = 10_000
IN_FLIGHT: Final = 3
"""With the part that fills up: at most 4 · 16 MiB in memory."""

_GONE: Final = frozenset({"NoSuchUpload", "404"})


class Part(msgspec.Struct, frozen=True):
    """A part as the store has it. `sha256` is base64, empty where the store keeps none."""

    number: int
    etag: str
    size: int
    sha256: str = ""

    def holds(self, body: bytes) -> bool:
        """Whether it is these bytes, by SHA-256 where the store keeps it, else by the MD5 that an ETag is."""
        if self.size != len(body):
            return False
        if self.sha256:
            return self.sha256 == base64.b64encode(hashlib.sha256(body).digest()).decode()
        return self.etag.strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()


async def upload(
    requests: S3Requests, key: str, pieces: AsyncIterator[bytes], headers: Mapping[str, str]
) -> Stored:
    """Write an object: in one request while it is small, else in parts. `headers` are for the object."""
    tally = Tally()
    parts = _parts(pieces, tally)
    first = await anext(parts, b"")
    if len(first) < PART_BYTES:
        await requests.ask("PUT", key, headers={**headers, **checksum(first)}, body=first)
        return tally.stored()
    upload_id = await unfinished(requests, key) or await _begin(requests, key, headers)
    known = await known_parts(requests, key, upload_id)
    sent = await _send_all(requests, key, upload_id, known, first, parts)
    await _complete(requests, key, upload_id, sent)
    return tally.stored()


async def abort_unfinished(requests: S3Requests, prefix: str, initiated_before: str) -> int:
    """Give back the room of uploads begun before this instant (ISO 8601, UTC): nobody will resume them.
    Returns how many; a store lists nothing of them, yet charges for them."""
    answer = await requests.ask("GET", query={"uploads": "", "prefix": prefix}, accept=frozenset({"501"}))
    count = 0
    for found in answer.xml().iter("Upload") if answer.status == 200 else ():
        if _text(found, "Initiated") < initiated_before:
            query = {"uploadId": _text(found, "UploadId")}
            await requests.ask("DELETE", _text(found, "Key"), query, accept=_GONE)
            count += 1
    return count


async def _send_all(
    requests: S3Requests,
    key: str,
    upload_id: str,
    known: Mapping[int, Part],
    first: bytes,
    rest: AsyncIterator[bytes],
) -> list[Part]:
    """All parts, at most IN_FLIGHT at once; the first failure ends the others."""
    slots = asyncio.Semaphore(IN_FLIGHT)
    tasks: list[asyncio.Task[Part]] = []

    async def send(number: int, body: bytes) -> Part:
        try:
            return await _send(requests, key, upload_id, number, body)
        finally:
            slots.release()

    async def begin(group: asyncio.TaskGroup, body: bytes) -> None:
        number = len(tasks) + 1
        if number > PARTS_LIMIT:
            raise StoreError(
                f"One object holds at most {PARTS_LIMIT * PART_BYTES >> 30} GiB.",
                hint="Split what is stored.",
            )
        await slots.acquire()
        part = known.get(number)
        if part is not None and part.holds(body):
            slots.release()
            # Some stores keep no SHA-256, and none takes a completion that has it for some parts alone.
            whole = msgspec.structs.replace(part, sha256=checksum(body)["x-amz-checksum-sha256"])
            tasks.append(group.create_task(_already(whole)))
        else:
            tasks.append(group.create_task(send(number, body)))

    try:
        async with asyncio.TaskGroup() as group:
            await begin(group, first)
            async for body in rest:
                await begin(group, body)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _already(part: Part) -> Part:
    return part


async def _send(requests: S3Requests, key: str, upload_id: str, number: int, body: bytes) -> Part:
    headers = checksum(body)
    query = {"partNumber": str(number), "uploadId": upload_id}
    answer = await requests.ask("PUT", key, query, headers, body)
    return Part(number, answer.headers.get("etag", ""), len(body), headers["x-amz-checksum-sha256"])


async def _begin(requests: S3Requests, key: str, headers: Mapping[str, str]) -> str:
    asked = {**headers, "x-amz-checksum-algorithm": "SHA256"}
    answer = await requests.ask("POST", key, {"uploads": ""}, asked)
    return _text(answer.xml(), "UploadId")


async def unfinished(requests: S3Requests, key: str) -> str:
    """The newest upload of this object that was not completed; empty when there is none."""
    answer = await requests.ask("GET", query={"uploads": "", "prefix": key}, accept=frozenset({"501"}))
    if answer.status != 200:
        return ""
    found = [one for one in answer.xml().iter("Upload") if _text(one, "Key") == key]
    return max(((_text(one, "Initiated"), _text(one, "UploadId")) for one in found), default=("", ""))[1]


async def known_parts(requests: S3Requests, key: str, upload_id: str) -> dict[int, Part]:
    """The parts of an upload that the store has, by number."""
    known: dict[int, Part] = {}
    marker = "0"
    while True:
        query = {"uploadId": upload_id, "part-number-marker": marker}
        root = (await requests.ask("GET", key, query)).xml()
        for one in root.iter("Part"):
            part = Part(
                int(_text(one, "PartNumber")),
                _text(one, "ETag"),
                int(_text(one, "Size")),
                one.findtext("ChecksumSHA256") or "",
            )
            known[part.number] = part
        following = root.findtext("NextPartNumberMarker") or ""
        if root.findtext("IsTruncated") != "true" or not following or following == marker:
            return known
        marker = following


async def _complete(requests: S3Requests, key: str, upload_id: str, parts: list[Part]) -> None:
    root = ElementTree.Element("CompleteMultipartUpload", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for part in parts:
        element = ElementTree.SubElement(root, "Part")
        ElementTree.SubElement(element, "PartNumber").text = str(part.number)
        ElementTree.SubElement(element, "ETag").text = part.etag
        if part.sha256:
            ElementTree.SubElement(element, "ChecksumSHA256").text = part.sha256
    body = ElementTree.tostring(root)
    answer: Answer = await requests.ask("POST", key, {"uploadId": upload_id}, body=body)
    # A completion may fail after its status 200 has gone out: the body then holds an error.
    if answer.xml().tag != "CompleteMultipartUploadResult":
        raise StoreError("The backup store did not put the parts of an object together.", hint="Try again.")


async def _parts(pieces: AsyncIterator[bytes], tally: Tally) -> AsyncIterator[bytes]:
    """The same bytes in parts of PART_BYTES, the last one shorter."""
    waiting = bytearray()
    async for piece in pieces:
        tally.add(piece)
        waiting += piece
        while len(waiting) >= PART_BYTES:
            part = bytes(memoryview(waiting)[:PART_BYTES])
            del waiting[:PART_BYTES]
            yield part
    if waiting:
        yield bytes(waiting)


def _text(element: ElementTree.Element, tag: str) -> str:
    found = element.findtext(tag)
    if found is None:
        raise StoreError(
            "The backup store answered something that is not S3.", hint="Look at [backup] endpoint."
        )
    return found
