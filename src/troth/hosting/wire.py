"""JSON between the platform's own processes; paths travel as text."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: object) -> bytes:
    """JSON on one line. Raises TypeError on what has no JSON form."""
    return msgspec.json.encode(value, enc_hook=_text_of_path)


def decode(text: bytes | str, kind: type[T]) -> T:
    """Raises msgspec.ValidationError on anything but a `kind`."""
    return msgspec.json.decode(text, type=kind, dec_hook=_path_of_text)


def _text_of_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _path_of_text(kind: type, value: Any) -> Path:
    if issubclass(kind, Path) and isinstance(value, str):
        return Path(value)
    raise TypeError(f"{kind.__name__} is not read from {type(value).__name__}")
