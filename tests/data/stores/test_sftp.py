"""An SFTP store against a real SFTP server: pinned keys, whole objects, lost connections."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.stores import PASSWORD, SftpServer, black_hole, pieces_of, read_all, ssh_key
from troth.core.secret import Secret
from troth.data.stores.opening import StoreSettings, open_store, sftp_place
from troth.data.stores.sftp import SftpPlace, SftpStore
from troth.data.stores.store import PIECE_BYTES, ObjectMissing, StoreError, Unreachable
from troth.data.stores.waiting import Patience

HASTY = Patience(seconds=2, attempts=2, first=0.01)


def place_of(server: SftpServer) -> SftpPlace:
    return SftpPlace("troth", "127.0.0.1", server.port, "/backups")


async def opened(server: SftpServer, credentials: bytes = PASSWORD.encode()) -> SftpStore:
    return await SftpStore.open(place_of(server), Secret(credentials), server.known_hosts)


async def test_what_was_put_is_listed_read_and_deleted(sftp_server: SftpServer) -> None:
    store = await opened(sftp_server)
    content = os.urandom(2 * PIECE_BYTES + 17)
    stored = await store.put("base/one/data.tar", pieces_of(content))
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    await store.put("wal/1", pieces_of(b"x"))
    await store.put("wal/1", pieces_of(b"y"))
    assert [(entry.name, entry.size) for entry in await store.list()] == [
        ("base/one/data.tar", len(content)),
        ("wal/1", 1),
    ]
    assert [entry.name for entry in await store.list("wal/")] == ["wal/1"]
    assert await read_all(store.get("base/one/data.tar")) == content
    assert await read_all(store.get("base/one/data.tar", start=PIECE_BYTES)) == content[PIECE_BYTES:]
    await store.delete("wal/1")
    await store.delete("wal/1")
    with pytest.raises(ObjectMissing):
        await read_all(store.get("wal/1"))
    await store.close()


async def test_a_failed_source_leaves_nothing(sftp_server: SftpServer) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the tool failed")

    store = await opened(sftp_server)
    with pytest.raises(RuntimeError, match="the tool failed"):
        await store.put("base/1", failing())
    assert files_below(sftp_server.root) == []
    await store.close()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_key_opens_it_as_a_password_does(sftp_server: SftpServer) -> None:
    store = await opened(sftp_server, sftp_server.client_key.export_private_key())
    await store.put("a", pieces_of(b"x"))
    await store.close()


@pytest.mark.parametrize("credentials", [b"wrong", b"-----BEGIN nonsense"])
async def test_wrong_credentials_are_told_without_repeating_them(
    sftp_server: SftpServer, credentials: bytes
) -> None:
    with pytest.raises(StoreError) as caught:
        await opened(sftp_server, credentials)
    assert "credentials" in f"{caught.value} {caught.value.hint}"
    assert credentials.decode() not in f"{caught.value!r} {caught.value.hint} {caught.value.detail}"


async def test_a_server_with_another_key_is_sent_nothing(sftp_server: SftpServer) -> None:
    public = ssh_key().export_public_key().decode()
    sftp_server.known_hosts.write_text(f"[127.0.0.1]:{sftp_server.port} {public}")
    with pytest.raises(StoreError, match="shows a key that is not in"):
        await opened(sftp_server)


async def test_a_server_that_nobody_pinned_is_refused(sftp_server: SftpServer) -> None:
    sftp_server.known_hosts.write_text("")
    with pytest.raises(StoreError, match="shows a key that is not in"):
        await opened(sftp_server)
    with pytest.raises(StoreError, match=r"which key 127\.0\.0\.1 has"):
        await open_store(StoreSettings(url="sftp://troth@127.0.0.1/backups", credentials=Secret(b"x")))


async def test_after_a_lost_connection_the_next_operation_works(sftp_server: SftpServer) -> None:
    store = await opened(sftp_server)
    await store.put("a", pieces_of(b"x"))
    await sftp_server.stop()
    connection = store._connection  # pyright: ignore[reportPrivateUsage]
    assert connection is not None
    connection.abort()
    await connection.wait_closed()
    await sftp_server.start()
    assert await read_all(store.get("a")) == b"x"
    await store.close()


async def test_a_black_hole_ends_in_a_clear_error(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("")
    async with asyncio.timeout(60), black_hole() as port:
        place = SftpPlace("troth", "127.0.0.1", port, "/backups")
        with pytest.raises(Unreachable):
            await SftpStore.open(place, Secret(b"x"), known, patience=HASTY)


async def test_a_configuration_opens_it(sftp_server: SftpServer) -> None:
    settings = StoreSettings(
        url=f"sftp://troth@127.0.0.1:{sftp_server.port}/backups/troth",
        ca=sftp_server.known_hosts,
        credentials=Secret(PASSWORD.encode()),
    )
    store = await open_store(settings)
    await store.put("a", pieces_of(b"x"))
    assert (sftp_server.root / "backups" / "troth" / "a").read_bytes() == b"x"
    assert PASSWORD not in f"{settings} {store.place}"
    await store.close()


@pytest.mark.parametrize(
    "url", ["sftp://host/folder", "sftp://u@host", "sftp://u:p@host/f", "sftp://u@host:99999/f", "sftp:///f"]
)
def test_an_incomplete_address_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="has a user, a host and a folder"):
        sftp_place(urlsplit(url))
