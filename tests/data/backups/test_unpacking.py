"""A tar on its way to the disk: files and folders alone, inside the folder alone, and whole or refused."""

import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.stores import pieces_of
from troth.core.errors import PlatformError
from troth.data.backups.unpacking import BadTar, unpack

CONTENT = b"page" * 50_000


def tar(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for member in members:
            made.addfile(member, io.BytesIO(CONTENT[: member.size]))
    return out.getvalue()


def file(name: str, size: int = len(CONTENT)) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o4777
    return member


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("size", [7, 511, 512, 65_536, 1 << 20])
async def test_files_and_folders_come_out_for_their_owner_alone_however_they_are_cut(
    tmp_path: Path, size: int
) -> None:
    whole = tar(
        special("base", tarfile.DIRTYPE), file("base/a", 700), file("base/empty", 0), file("b/c/d", 999)
    )
    await unpack(pieces_of(whole, size), tmp_path)
    assert (tmp_path / "base" / "a").read_bytes() == CONTENT[:700]
    assert (tmp_path / "base" / "empty").read_bytes() == b""
    assert (tmp_path / "b" / "c" / "d").read_bytes() == CONTENT[:999]
    assert (tmp_path / "base" / "a").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "member",
    [
        file("../out", 3),
        file("base/../../out", 3),
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "base/a"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: str(member.name),
)
async def test_what_is_no_file_or_would_leave_the_folder_is_refused(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(BadTar):
        await unpack(pieces_of(tar(member)), folder)
    assert found(folder) == []
    assert found(tmp_path) == [folder]


def found(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_an_absolute_name_stays_inside(tmp_path: Path) -> None:
    await unpack(pieces_of(tar(file("/rooted", 3))), tmp_path)
    assert (tmp_path / "rooted").exists()


@pytest.mark.parametrize("length", [0, 300, 512, 100_000])
async def test_a_tar_that_is_cut_off_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(BadTar, match="cut off"):
        await unpack(pieces_of(tar(file("a"))[:length]), tmp_path)


async def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTar):
        await unpack(pieces_of(b"x" * 2048), tmp_path)


async def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="exists"):
        await unpack(pieces_of(tar(file("a", 3), file("a", 4))), tmp_path)


async def test_an_error_of_the_source_comes_out_as_it_is(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield tar(file("a"))[:5000]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        await unpack(broken(), tmp_path)
