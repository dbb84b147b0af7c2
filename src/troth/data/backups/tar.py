"""Watching a tar (POSIX.1-1988, ustar) go by: which member is which, and the content of one of them."""

from typing import BinaryIO

_BLOCK = 512
_NAME = slice(0, 100)
_SIZE = slice(124, 136)


class BadTar(ValueError):
    """What goes by is no tar."""


class TarWatch:
    """Copies the content of the member called `name` to `out` while all bytes go by. Keeps one block.

    After the last byte `found` says whether it was there, `complete` whether the tar came to its end.
    """

    def __init__(self, name: str, out: BinaryIO) -> None:
        self._name = name.encode()
        self._out = out
        self._header = bytearray()
        self._copy = 0
        self._skip = 0
        self.found = False
        self.complete = False

    def feed(self, piece: bytes) -> None:
        """Look at the next bytes. Raises BadTar."""
        view = memoryview(piece)
        while view and not self.complete:
            if self._copy:
                taken = view[: self._copy]
                self._out.write(taken)
                self._copy -= len(taken)
            elif self._skip:
                taken = view[: self._skip]
                self._skip -= len(taken)
            else:
                taken = view[: _BLOCK - len(self._header)]
                self._header += taken
                if len(self._header) == _BLOCK:
                    self._begin(bytes(self._header))
                    self._header.clear()
            view = view[len(taken) :]

    def _begin(self, header: bytes) -> None:
        if not any(header):
            self.complete = True
            return
        size = _number(header[_SIZE])
        padding = -size % _BLOCK
        if header[_NAME].rstrip(b"\0") == self._name:
            self.found = True
            self._copy, self._skip = size, padding
        else:
            self._skip = size + padding


def _number(field: bytes) -> int:
    """Octal digits; or, for what does not fit, the highest bit set and the number itself (GNU)."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise BadTar("a member without a size") from None
