"""Collecting the faults of one configuration file, so that all are told at once."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from troth.core.errors import ConfigError
from troth.core.toml_lines import KeyPath, nearest_line, write_path


class Faults:
    """The faults found so far in `file`; `lines` says where its keys are."""

    def __init__(self, file: Path, lines: dict[KeyPath, int]) -> None:
        self.file = file
        self._lines = lines
        self._found: list[ConfigError] = []

    def add(self, path: KeyPath, public: str, hint: str, *, promise: str = "") -> None:
        """Note a fault of the key at `path`."""
        self._found.append(
            ConfigError(
                public,
                file=self.file,
                line=self.line(path),
                key=write_path(path),
                hint=hint,
                promise=promise,
            )
        )

    def add_in(self, file: Path, line: int | None, path: KeyPath, public: str, hint: str) -> None:
        """Note a fault inside another file, which the key at `path` names."""
        self._found.append(ConfigError(public, file=file, line=line, key=write_path(path), hint=hint))

    def line(self, path: KeyPath) -> int | None:
        return nearest_line(self._lines, path)

    def raise_any(self) -> None:
        """Raise the first fault in the order of the lines, the others on it; nothing when there are none."""
        if not self._found:
            return
        first, *others = sorted(self._found, key=lambda fault: (fault.file != self.file, fault.line or 0))
        first.others = tuple(others)
        raise first


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A hint for a word that is not among the known ones."""
    known = sorted(known)
    close = difflib.get_close_matches(word.lower(), known, n=1)
    if close:
        return f"Did you mean “{close[0]}”?"
    return f"{otherwise} Known here: {', '.join(known)}." if known else otherwise
