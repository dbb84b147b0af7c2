"""An S3 store against a real S3 server: parts, a kill in between, locks, versions, and TLS."""

import asyncio
import base64
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.s3_server import CREDENTIALS, KEY, REGION, S3Server
from support.stores import black_hole, pieces_of, read_all
from troth.core.clock import SystemClock
from troth.core.secret import Secret
from troth.data.stores.credentials import AccessKey
from troth.data.stores.opening import StoreSettings, open_store
from troth.data.stores.s3 import ABANDONED, S3Place, S3Store
from troth.data.stores.s3_requests import Answer, S3Requests
from troth.data.stores.s3_uploads import PART_BYTES, Part, abort_unfinished, known_parts, unfinished
from troth.data.stores.store import ObjectMissing, StoreError, Unreachable
from troth.data.stores.waiting import Patience

CLOCK = SystemClock()
HASTY = Patience(seconds=1, attempts=2, first=0.01)


async def opened(server: S3Server, bucket: str, *, lock: bool = False, lock_days: int = 0) -> S3Store:
    place = await server.make_bucket(bucket, lock=lock)
    return await S3Store.open(place, KEY, clock=CLOCK, ca=server.ca, lock_days=lock_days)


async def test_small_and_large_objects_are_listed_and_read_back(s3_server: S3Server, bucket: str) -> None:
    store = await opened(s3_server, bucket)
    large = os.urandom(PART_BYTES + 1000)
    for name, content in (("wal/small", b"x"), ("wal/empty", b""), ("base/large", large)):
        stored = await store.put(name, pieces_of(content))
        assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert await read_all(store.get(name)) == content
    assert await read_all(store.get("base/large", start=PART_BYTES)) == large[PART_BYTES:]
    assert await read_all(store.get("base/large", start=len(large))) == b""
    assert [entry.name for entry in await store.list()] == ["base/large", "wal/empty", "wal/small"]
    assert [entry.name for entry in await store.list("wal/s")] == ["wal/small"]
    await store.delete("wal/small")
    await store.delete("wal/small")
    assert [entry.name for entry in await store.list("wal")] == ["wal/empty"]
    with pytest.raises(ObjectMissing):
        await read_all(store.get("wal/small"))
    await store.close()


async def test_a_failed_source_leaves_nothing_under_the_name(s3_server: S3Server, bucket: str) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield bytes(PART_BYTES + 1)
        raise RuntimeError("the tool failed")

    store = await opened(s3_server, bucket)
    with pytest.raises(RuntimeError, match="the tool failed"):
        await store.put("base/1", failing())
    assert await store.list() == ()
    await store.close()


_UPLOAD = """
import asyncio, sys
from pathlib import Path
from typing import Any
from support.s3_server import KEY
from support.stores import pieces_of
from troth.core.clock import SystemClock
from troth.data.stores.s3 import ABANDONED, S3Place, S3Store

async def main():
    endpoint, region, bucket, ca, file = sys.argv[1:]
    place = S3Place(endpoint, region, bucket, "troth")
    store = await S3Store.open(place, KEY, clock=SystemClock(), ca=Path(ca))

    async def pieces():
        async for piece in pieces_of(Path(file).read_bytes(), 16 * 1024 * 1024):
            yield piece
        await asyncio.sleep(3600)

    await store.put("base/large", pieces())

asyncio.run(main())
"""


async def test_a_killed_upload_sends_only_what_the_store_has_not(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    place = await s3_server.make_bucket(bucket)
    content = os.urandom(2 * PART_BYTES + 1000)
    file = tmp_path / "large"
    file.write_bytes(content)
    arguments = (s3_server.endpoint, REGION, bucket, str(s3_server.ca), str(file))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _UPLOAD, *arguments, env=environment)
    requests = s3_server.requests(bucket)
    async with asyncio.timeout(90):
        while await count_parts(requests, "troth/base/large") < 2:
            assert process.returncode is None
            await asyncio.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    store = await S3Store.open(place, KEY, clock=CLOCK, ca=s3_server.ca)
    assert await store.list() == ()
    sent: list[str] = []
    ask = store._requests.ask  # pyright: ignore[reportPrivateUsage]

    async def counting(method: str, key: str = "", query: Any = None, *rest: Any, **more: Any) -> Answer:
        if method == "PUT":
            sent.append(str(query))
        return await ask(method, key, query, *rest, **more)

    store._requests.ask = counting  # pyright: ignore[reportPrivateUsage]
    await store.put("base/large", pieces_of(content))
    assert len(sent) == 1, "two parts were there"
    assert "'partNumber': '3'" in sent[0]
    assert await read_all(store.get("base/large")) == content
    await store.close()
    await requests.close()


async def test_an_upload_that_nobody_resumes_is_given_up_in_time(s3_server: S3Server, bucket: str) -> None:
    await s3_server.make_bucket(bucket)
    requests = s3_server.requests(bucket)
    await requests.ask("POST", "troth/base/left", {"uploads": ""})
    now = CLOCK.now()
    two_days_ago, later = (
        f"{instant:%Y-%m-%dT%H:%M:%SZ}" for instant in (now - ABANDONED, now + timedelta(minutes=1))
    )
    assert await abort_unfinished(requests, "troth/", two_days_ago) == 0
    assert await unfinished(requests, "troth/base/left")
    assert await abort_unfinished(requests, "troth/", later) == 1
    assert not await unfinished(requests, "troth/base/left")
    await requests.close()


async def count_parts(requests: S3Requests, key: str) -> int:
    upload = await unfinished(requests, key)
    return len(await known_parts(requests, key, upload)) if upload else 0


async def test_other_bytes_are_never_mixed_with_an_upload_of_before(s3_server: S3Server, bucket: str) -> None:
    async def failing(content: bytes) -> AsyncIterator[bytes]:
        yield content
        raise RuntimeError("killed")

    store = await opened(s3_server, bucket)
    with pytest.raises(RuntimeError):
        await store.put("base/1", failing(os.urandom(2 * PART_BYTES)))
    other = os.urandom(2 * PART_BYTES)
    await store.put("base/1", pieces_of(other))
    assert await read_all(store.get("base/1")) == other
    await store.close()


def test_a_part_is_known_by_its_digest_and_never_by_its_size_alone() -> None:
    body = b"a part"
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert Part(1, f'"{md5}"', 6).holds(body)
    assert Part(1, "opaque", 6, sha256).holds(body)
    assert not Part(1, f'"{md5}"', 6, "other").holds(body)
    assert not Part(1, f'"{md5}"', 6).holds(b"a Part")
    assert not Part(1, "opaque", 6).holds(body)


async def test_a_locked_object_is_not_deleted_nor_lost_by_writing_again(
    s3_server: S3Server, bucket: str
) -> None:
    store = await opened(s3_server, bucket, lock=True, lock_days=1)
    for name, content in (("small", b"first"), ("large", bytes(PART_BYTES))):
        await store.put(name, pieces_of(content))
        with pytest.raises(StoreError, match="locked"):
            await store.delete(name)
        assert await read_all(store.get(name)) == content
    await store.put("small", pieces_of(b"second"))
    requests = s3_server.requests(bucket)
    versions = (await requests.ask("GET", query={"versions": "", "prefix": "troth/small"})).xml()
    assert len(list(versions.iter("Version"))) == 2
    await requests.close()
    await store.close()


async def test_in_a_bucket_with_versions_what_is_deleted_is_gone(s3_server: S3Server, bucket: str) -> None:
    store = await opened(s3_server, bucket, lock=True)
    for content in (b"first", b"second"):
        await store.put("keys", pieces_of(content))
    await store.delete("keys")
    requests = s3_server.requests(bucket)
    versions = (await requests.ask("GET", query={"versions": "", "prefix": "troth/keys"})).xml()
    assert not [one for one in versions.iter() if one.tag in ("Version", "DeleteMarker")]
    await requests.close()
    await store.close()


async def test_a_bucket_that_cannot_lock_is_refused(s3_server: S3Server, bucket: str) -> None:
    with pytest.raises(StoreError, match="does not lock objects"):
        await opened(s3_server, bucket, lock_days=7)


async def test_a_bucket_that_locks_longer_than_asked_is_refused(s3_server: S3Server, bucket: str) -> None:
    await s3_server.make_bucket(bucket, lock=True)
    requests = s3_server.requests(bucket)
    body = (
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
        b"<Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
    )
    await requests.ask("PUT", query={"object-lock": ""}, body=body)
    await requests.close()
    place = S3Place(s3_server.endpoint, REGION, bucket, "troth")
    with pytest.raises(StoreError, match="for 30 days, longer than 7"):
        await S3Store.open(place, KEY, clock=CLOCK, ca=s3_server.ca, lock_days=7)


async def test_wrong_credentials_and_a_missing_bucket_say_what_to_do(
    s3_server: S3Server, bucket: str
) -> None:
    place = await s3_server.make_bucket(bucket)
    with pytest.raises(StoreError, match="SignatureDoesNotMatch") as caught:
        await S3Store.open(place, AccessKey(KEY.id, Secret(b"wrong")), clock=CLOCK, ca=s3_server.ca)
    assert "credentials" in caught.value.hint
    assert "wrong" not in f"{caught.value!r} {caught.value.detail} {caught.value.hint}"
    nowhere = S3Place(s3_server.endpoint, REGION, "no-such-bucket", "")
    with pytest.raises(StoreError, match="NoSuchBucket") as caught:
        await S3Store.open(nowhere, KEY, clock=CLOCK, ca=s3_server.ca)
    assert "bucket" in caught.value.hint


async def test_a_server_that_no_authority_vouches_for_is_not_talked_to(
    s3_server: S3Server, bucket: str
) -> None:
    place = await s3_server.make_bucket(bucket)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await S3Store.open(place, KEY, clock=CLOCK, patience=HASTY)


def test_an_address_without_tls_is_refused() -> None:
    with pytest.raises(StoreError, match="https://"):
        S3Place("http://127.0.0.1:9000", REGION, "bucket", "")


async def test_a_black_hole_ends_in_a_clear_error() -> None:
    async with asyncio.timeout(60), black_hole() as port:
        place = S3Place(f"https://127.0.0.1:{port}", REGION, "bucket", "")
        with pytest.raises(Unreachable, match="no answer within 1 s"):
            await S3Store.open(place, KEY, clock=CLOCK, patience=HASTY)


async def test_a_configuration_opens_it(s3_server: S3Server, bucket: str) -> None:
    await s3_server.make_bucket(bucket)
    settings = StoreSettings(
        url=f"s3://{bucket}/backups",
        region=REGION,
        endpoint=s3_server.endpoint,
        ca=s3_server.ca,
        credentials=Secret(CREDENTIALS),
    )
    store = await open_store(settings)
    await store.put("a", pieces_of(b"x"))
    assert [entry.name for entry in await store.list()] == ["a"]
    assert "testsecret" not in repr(settings)
    await store.close()


async def test_without_credentials_it_says_where_to_put_them() -> None:
    with pytest.raises(StoreError, match="no credentials") as caught:
        await open_store(StoreSettings(url="s3://bucket/x", region=REGION))
    assert "access_key_id" in caught.value.hint
