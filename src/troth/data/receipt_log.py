"""The log of receipts: a chain of signed lines in files of bounded size, outside the database, owner only.

Each line is a compact JWS (RFC 7515, ES256) of a `Receipt`, whose `previous` is the SHA-256 of the line
before, so that none can be changed, left out or put in without breaking the chain. What the file alone cannot
show is that lines are missing at its end: then the database has rows without a receipt.

    receipts/key.json      the public key (JWK), to check the log with on any machine
    receipts/log.jws       the newest lines
    receipts/log.1.jws     the generation before, replaced when the newest is full

Every line is on disk (fdatasync) before the next row is written: what a power cut endangers is just what was
acknowledged in the seconds before, and a receipt of that must not go with it.
"""

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from troth.core.errors import PlatformError
from troth.core.jose import Signer, TokenError, Verifier, generate_signing_key, thumbprint
from troth.core.secret import read_secret, write_public, write_secret
from troth.data.receipts import KEPT_ROWS, Receipt, encode_digest

TYPE = "troth-receipt+jws"
"""`typ` of a receipt's header: no token passes for one."""

GENERATION = 10_000
"""Lines of one file: between three and six hours lie in the two, in at most 12 MB."""

_LINE_BYTES = 2048


class ReceiptFault(PlatformError):
    """A log that is not what was written. `line` counts from 1 over all that was read."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(
            f"Line {line} of the receipts {reason}.",
            hint="Somebody changed the log, or it belongs to another key.",
        )
        self.line = line


def verify_receipts(lines: Iterable[bytes], key: Mapping[str, object]) -> tuple[Receipt, ...]:
    """Pure: the receipts of a log, once every signature and the chain hold. `key` is the public JWK.

    The first line may name a predecessor that is no longer kept. Raises ReceiptFault.
    """
    verifier = Verifier([key])
    found: list[Receipt] = []
    previous = ""
    for number, line in enumerate(lines, start=1):
        receipt = _read_line(line, verifier, number)
        if previous and receipt.previous != previous:
            raise ReceiptFault(number, "does not follow the line before")
        if found and receipt.number <= found[-1].number:
            raise ReceiptFault(number, "has a number that was given before")
        found.append(receipt)
        previous = _digest(line)
    return tuple(found)


def read_log(folder: Path) -> tuple[bytes, ...]:
    """Every whole line of the log in `folder`, the oldest first; none when there is no log."""
    return tuple(line for file in (_older(folder), _newer(folder)) for line in _lines(file))


def read_public_key(file: Path) -> Mapping[str, object]:
    """The key to check a log with. Raises PlatformError when it is missing or no key."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError) as error:
        raise PlatformError(
            f"The key {file} cannot be read.", hint="It lies beside the log as key.json.", detail=repr(error)
        ) from None


class ReceiptLog:
    """The log that the keeper appends to. Open it with `open`; one process at a time."""

    def __init__(self, folder: Path, signer: Signer, receipts: tuple[Receipt, ...], last: str) -> None:
        self._folder = folder
        self._signer = signer
        self._recent = deque(receipts, maxlen=KEPT_ROWS)
        self._last = last
        self._lines = len(_lines(_newer(folder)))
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(cls, folder: Path, private_key: Path) -> "ReceiptLog":
        """Open or begin the log, and check every line of it. Raises ReceiptFault.

        A line that a crash tore off is removed: the write it was for counts as unknown.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not private_key.exists():
            write_secret(private_key, generate_signing_key())
        key = read_secret(private_key).reveal()
        signer = Signer(thumbprint(key), key)
        write_public(folder / "key.json", msgspec.json.encode(signer.public_jwk()))
        _mend(_newer(folder))
        lines = read_log(folder)
        receipts = verify_receipts(lines, dict(signer.public_jwk()))
        return cls(folder, signer, receipts, _digest(lines[-1]) if lines else "")

    @property
    def newest(self) -> int:
        """The number of the newest receipt; 0 when there is none."""
        return self._recent[-1].number if self._recent else 0

    def recent(self) -> tuple[Receipt, ...]:
        """The newest receipts, the oldest first: as many as the database keeps rows."""
        return tuple(self._recent)

    async def append(self, receipt: Receipt) -> Receipt:
        """Sign it, chained to the one before, and return it once it is on disk. Raises OSError; the log is
        then as it was."""
        return await asyncio.to_thread(self._append, receipt)

    def _append(self, receipt: Receipt) -> Receipt:
        # A caller that is cut short does not stop this thread: the chain must not fork meanwhile.
        with self._one_at_a_time:
            chained = msgspec.structs.replace(receipt, previous=self._last)
            line = self._signer.sign(msgspec.to_builtins(chained), TYPE).encode()
            self._write(line + b"\n")
            self._last = _digest(line)
            self._lines += 1
            self._recent.append(chained)
            return chained

    def _write(self, text: bytes) -> None:
        newer = _newer(self._folder)
        if self._lines >= GENERATION:
            newer.replace(_older(self._folder))
            self._lines = 0
        handle = os.open(newer, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            try:
                _write_all(handle, text)
                os.fdatasync(handle)
            except OSError:
                os.ftruncate(handle, size)  # half a line on a full disk would spoil the next one
                raise
        finally:
            os.close(handle)
        if not self._lines:
            _sync_folder(self._folder)


def set_aside(folder: Path, suffix: str) -> tuple[Path, ...]:
    """Rename the log's files so that a new chain begins; returns where they are now. For a log that does not
    verify, and for a restore to a point in time, which gives up later writes on purpose."""
    moved: list[Path] = []
    for file in (_older(folder), _newer(folder)):
        if file.exists():
            target = file.with_name(f"{file.name}.{suffix}")
            file.replace(target)
            moved.append(target)
    return tuple(moved)


def _read_line(line: bytes, verifier: Verifier, number: int) -> Receipt:
    if len(line) > _LINE_BYTES:
        raise ReceiptFault(number, "is too long")
    try:
        return msgspec.json.decode(verifier.read_statement(line.decode("ascii"), TYPE), type=Receipt)
    except (TokenError, UnicodeDecodeError):
        raise ReceiptFault(number, "is not signed by this key") from None
    except msgspec.ValidationError:
        raise ReceiptFault(number, "is no receipt") from None


def _digest(line: bytes) -> str:
    return encode_digest(hashlib.sha256(line).digest())


def _newer(folder: Path) -> Path:
    return folder / "log.jws"


def _older(folder: Path) -> Path:
    return folder / "log.1.jws"


def _lines(file: Path) -> list[bytes]:
    """The lines that are complete."""
    try:
        *whole, _ = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return whole


def _write_all(handle: int, text: bytes) -> None:
    while text:
        text = text[os.write(handle, text) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mend(file: Path) -> None:
    """Cut off what stands behind the last line break."""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        with file.open("r+b") as opened:
            opened.truncate(whole)
            os.fsync(opened.fileno())
