"""Reading a file that somebody named, whatever it turns out to be."""

from pathlib import Path


def read_up_to(file: Path, most: int) -> bytes:
    """The content; of one that is longer, the first `most` bytes and one more. Raises OSError.

    Of a device, a pipe or a file that grows nobody knows the length beforehand.
    """
    with file.open("rb") as opened:
        return opened.read(most + 1)
