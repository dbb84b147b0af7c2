"""Looking for a canary: is a marker that was written through the API readable in any byte on disk?"""

import base64
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

_CHUNK = 4 * 1024 * 1024
_NAMESPACE = Path("/proc/self/ns/net")


class Search(msgspec.Struct, frozen=True):
    """What was read, in files and bytes, and where the marker was found in a readable form."""

    files: int
    size: int
    found: tuple[str, ...]


def new_marker() -> str:
    """A word that stands nowhere else: 128 random bits behind a recognisable head."""
    return f"troth-canary-{secrets.token_hex(16)}"


def spellings(marker: str) -> tuple[bytes, ...]:
    """The marker as a careless program would store it: plain, UTF-16, hexadecimal, and base64 in each of
    the three alignments that it can have inside a longer text."""
    plain = marker.encode()
    encodings = [plain, marker.encode("utf-16-le"), marker.encode("utf-16-be")]
    encodings += [plain.hex().encode(), plain.hex().upper().encode()]
    for shift in range(3):
        padded = base64.b64encode(b"\0" * shift + plain)
        # The outer characters mix with the marker's neighbours, the inner ones do not.
        inner = padded[4 if shift else 0 : -4]
        encodings += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return tuple(dict.fromkeys(encodings))


def search(root: Path, marker: str) -> Search:
    """Read every regular file under `root` to its last byte. Files that vanish meanwhile are not counted.

    Raises PermissionError when a file cannot be read: what was not seen is not proved.
    """
    needles = spellings(marker)
    files = size = 0
    found: list[str] = []
    for path in _regular_files(root):
        try:
            length, hit = _scan(path, needles)
        except FileNotFoundError:
            continue
        files, size = files + 1, size + length
        if hit:
            found.append(str(path.relative_to(root)))
    return Search(files, size, tuple(found))


def _regular_files(root: Path) -> Iterator[Path]:
    namespaces = _NAMESPACE.stat().st_dev
    for path in sorted(root.rglob("*")):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        # The name of a namespace (namespaces(7)) looks like a file and holds no bytes.
        if stat.S_ISREG(found.st_mode) and found.st_dev != namespaces:
            yield path


def _scan(path: Path, needles: tuple[bytes, ...]) -> tuple[int, bool]:
    overlap = max(map(len, needles)) - 1
    length, tail = 0, b""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            length += len(chunk)
            window = tail + chunk
            if any(needle in window for needle in needles):
                return length, True
            tail = window[-overlap:]
    return length, False
