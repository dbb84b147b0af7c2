"""A store behind the S3 API: obstore reads and lists, `s3_requests` writes, locks and deletes."""

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Bucket

from troth.core.clock import Clock
from troth.data.stores.bandwidth import Throttle
from troth.data.stores.credentials import AccessKey
from troth.data.stores.s3_requests import S3Requests
from troth.data.stores.s3_uploads import abort_unfinished, upload
from troth.data.stores.signing import Signer
from troth.data.stores.store import PIECE_BYTES, Entry, ObjectMissing, Stored, StoreError, check_name
from troth.data.stores.waiting import Patience, unreachable, within

if TYPE_CHECKING:
    from obstore.store import ClientConfig

T = TypeVar("T")

ABANDONED: Final = timedelta(days=2)
"""An upload that was not resumed for so long is given up."""

_LOCKED = frozenset({"AccessDenied", "403", "InvalidRequest", "ObjectLocked"})


class S3Place:
    """Endpoint, bucket and prefix of a store; the prefix ends in a slash or is empty."""

    __slots__ = ("bucket", "endpoint", "prefix", "region")

    def __init__(self, endpoint: str, region: str, bucket: str, prefix: str) -> None:
        self.endpoint = endpoint or f"https://s3.{region}.amazonaws.com"
        self.region = region
        self.bucket = bucket
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        if not self.endpoint.startswith("https://"):
            raise StoreError(
                "The address of the S3 store does not begin with https://.",
                hint="What Troth sends is sealed, but the names of objects are not: give the store TLS.",
            )


class S3Store:
    """Objects below a prefix of a bucket. An object appears when its upload is completed, never before."""

    def __init__(
        self,
        place: S3Place,
        key: AccessKey,
        *,
        clock: Clock,
        ca: Path | None,
        patience: Patience,
        throttle: Throttle,
        lock_days: int = 0,
    ) -> None:
        self._place = place
        self._clock = clock
        self._patience = patience
        self._lock_days = lock_days
        signer = Signer(key.id, key.secret, place.region, key.session_token)
        self._requests = S3Requests(
            place.endpoint, place.bucket, signer, clock=clock, ca=ca, patience=patience, throttle=throttle
        )
        self._bucket = _open_bucket(place, key, ca, patience)

    @classmethod
    async def open(
        cls,
        place: S3Place,
        key: AccessKey,
        *,
        clock: Clock,
        ca: Path | None = None,
        patience: Patience | None = None,
        throttle: Throttle | None = None,
        lock_days: int = 0,
    ) -> "S3Store":
        """Reach the bucket, look whether it locks as asked, and give up uploads that nobody resumed.

        Raises StoreError when the bucket cannot lock, or locks for longer than asked: what has to be gone
        after some days (the keys of an erased customer) would stay.
        """
        store = cls(
            place,
            key,
            clock=clock,
            ca=ca,
            patience=patience or Patience(),
            throttle=throttle or Throttle(0),
            lock_days=lock_days,
        )
        try:
            await store._check_lock()
            before = (clock.now() - ABANDONED).strftime("%Y-%m-%dT%H:%M:%SZ")
            await abort_unfinished(store._requests, place.prefix, before)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def place(self) -> str:
        return f"S3 bucket {self._place.bucket} at {self._place.endpoint.removeprefix('https://')}"

    async def put(self, name: str, pieces: AsyncIterator[bytes]) -> Stored:
        headers = {"content-type": "application/octet-stream"}
        if self._lock_days:
            until = self._clock.now() + timedelta(days=self._lock_days)
            headers["x-amz-object-lock-mode"] = "COMPLIANCE"
            headers["x-amz-object-lock-retain-until-date"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        return await upload(self._requests, self._key(name), pieces, headers)

    async def get(self, name: str, start: int = 0) -> AsyncIterator[bytes]:
        key = self._key(name)
        if start:
            size = (await self._ask(name, obstore.head_async(self._bucket, key)))["size"]
            if start >= size:  # a range that begins at the end is an error to S3
                return
            result = await self._ask(
                name, obstore.get_async(self._bucket, key, options={"range": {"offset": start}})
            )
        else:
            result = await self._ask(name, obstore.get_async(self._bucket, key))
        stream = result.stream(min_chunk_size=PIECE_BYTES // 4)
        while True:
            try:
                piece = bytes(await self._ask(name, anext(stream)))
            except StopAsyncIteration:
                return
            for at in range(0, len(piece), PIECE_BYTES):
                yield piece[at : at + PIECE_BYTES]

    async def list(self, prefix: str = "") -> tuple[Entry, ...]:
        folder = prefix.rpartition("/")[0]  # obstore takes whole segments
        stream = cast("Any", obstore).list(self._bucket, self._place.prefix + folder, chunk_size=1000)
        entries: list[Entry] = []
        while True:
            try:
                found = await self._ask(prefix, anext(aiter(stream)))
            except StopAsyncIteration:
                return tuple(sorted(entries))
            for one in found:
                name = one["path"].removeprefix(self._place.prefix)
                if name.startswith(prefix):
                    entries.append(Entry(name, one["size"], one["last_modified"].timestamp()))

    async def delete(self, name: str) -> None:
        """Every version of it: in a bucket with versions, deleting a name alone deletes nothing."""
        key = self._key(name)
        answer = await self._requests.ask(
            "GET", query={"versions": "", "prefix": key}, accept=frozenset({"501"})
        )
        versions = [
            one.findtext("VersionId") or "null"
            for one in (answer.xml().iter() if answer.status == 200 else ())
            if one.tag in ("Version", "DeleteMarker") and one.findtext("Key") == key
        ]
        for version in versions or [""]:
            query = {"versionId": version} if version and version != "null" else {}
            answer = await self._requests.ask("DELETE", key, query, accept=_LOCKED | {"404", "NoSuchKey"})
            if answer.code in _LOCKED:
                raise StoreError(
                    f"The backup store did not delete {name}: it is locked, or not allowed.",
                    hint="Locked objects can be deleted when their days are over ([backup] lock_days).",
                )

    async def close(self) -> None:
        await self._requests.close()

    def _key(self, name: str) -> str:
        return self._place.prefix + check_name(name)

    async def _ask(self, name: str, work: Awaitable[T]) -> T:
        """What obstore answers, in time. Its own errors repeat the request; ours say it in a sentence."""
        try:
            return await within(self._patience, f"The {self.place}", work)
        except FileNotFoundError:
            raise ObjectMissing(
                f"There is no {name} in the {self.place}.", hint="Look with: troth backup list"
            ) from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise StoreError(
                f"The {self.place} refused to read.", hint="Correct the credentials that [backup] names."
            ) from None
        except BaseError as error:
            raise unreachable(f"The {self.place}", str(error).partition("\n")[0][:200]) from None

    async def _check_lock(self) -> None:
        if not self._lock_days:
            await self._requests.ask("GET", query={"list-type": "2", "max-keys": "1"})
            return
        answer = await self._requests.ask(
            "GET",
            query={"object-lock": ""},
            accept=frozenset({"ObjectLockConfigurationNotFoundError", "404", "501"}),
        )
        root = answer.xml() if answer.status == 200 else None
        if root is None or root.findtext("ObjectLockEnabled") != "Enabled":
            raise StoreError(
                f"The {self.place} does not lock objects, and lock_days asks for it.",
                hint="Object lock is switched on as a bucket is made: make another, or leave lock_days out.",
            )
        days = int(root.findtext(".//Days") or 0) + 366 * int(root.findtext(".//Years") or 0)
        if days > self._lock_days:
            raise StoreError(
                f"The {self.place} locks every object for {days} days, longer than {self._lock_days}.",
                hint="Take its default retention away: Troth sets one for each object.",
            )


def _open_bucket(place: S3Place, key: AccessKey, ca: Path | None, patience: Patience) -> Bucket:
    attempt = timedelta(seconds=patience.seconds)
    options: ClientConfig = {
        "connect_timeout": attempt,
        "read_timeout": attempt,
        "timeout": timedelta(hours=6),  # of a whole download; a stalled one ends by read_timeout
    }
    if ca is not None:
        options["root_certificate"] = ca.read_bytes()
    return Bucket(
        place.bucket,
        endpoint=place.endpoint,
        region=place.region,
        access_key_id=key.id,
        secret_access_key=key.secret.reveal().decode(),
        session_token=key.session_token,
        client_options=options,
        retry_config={"max_retries": patience.attempts, "retry_timeout": attempt},
    )
