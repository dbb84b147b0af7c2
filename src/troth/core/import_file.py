"""Files of people as CSV or NDJSON, read line by line: nothing in them can make more than one line be held.

What is no row is told with its line and the reason, and reading goes on after it.
"""

import csv
from collections.abc import Iterator
from typing import IO, Literal

import msgspec

from troth.core.errors import UsageError

Format = Literal["csv", "ndjson"]

COLUMNS = frozenset(("email", "name", "roles", "hash", "scheme", "salt", "salt_encoding", "email_verified"))
MAX_LINE = 16_384
MAX_LINES = 20
"""Of one record: a field in quotation marks may hold line breaks."""

Text = dict[str, str]


class Fault(msgspec.Struct, frozen=True):
    """A line that is no row."""

    line: int
    reason: str


class Record(msgspec.Struct, frozen=True):
    """A row's fields, by column."""

    line: int
    fields: Text


def read_people(file: IO[bytes], kind: Format) -> Iterator[Record | Fault]:
    """Every row, in order. Raises UsageError when the file as a whole is none of these."""
    lines = _lines(file)
    return _read_csv(lines) if kind == "csv" else _read_ndjson(lines)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, str | Fault]]:
    """Lines without their ends. What follows the limit of one is read and thrown away."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise UsageError("The file is written in UTF-16.", hint="Save it as UTF-8.")
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) > MAX_LINE:
            while not line.endswith(b"\n") and (line := file.readline(MAX_LINE)):
                pass
            yield number, Fault(number, f"the line has more than {MAX_LINE} bytes")
            continue
        try:
            yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield number, Fault(number, "the line is not UTF-8")


def _read_ndjson(lines: Iterator[tuple[int, str | Fault]]) -> Iterator[Record | Fault]:
    for number, line in lines:
        if isinstance(line, Fault):
            yield line
        elif line.strip():
            yield _record(number, line)


def _record(number: int, line: str) -> Record | Fault:
    try:
        found = msgspec.json.decode(line, type=dict[str, str | bool | list[str] | None])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Fault(number, "this is no JSON object of texts")
    if unknown := sorted(found.keys() - COLUMNS):
        return Fault(number, f"there is no member {unknown[0][:40]!r}")
    return Record(number, {name: _text(value) for name, value in found.items() if value is not None})


def _text(value: str | bool | list[str] | None) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_csv(lines: Iterator[tuple[int, str | Fault]]) -> Iterator[Record | Fault]:
    _, head = next(lines, (0, ""))
    if isinstance(head, Fault):
        raise UsageError("The first line names no columns.", hint=f"Columns: {', '.join(sorted(COLUMNS))}")
    delimiter = max(",;\t", key=head.count)
    columns = [name.strip().strip('"').lower() for name in head.split(delimiter)]
    unknown = sorted(set(columns) - COLUMNS)
    if "email" not in columns or unknown or len(columns) != len(set(columns)):
        said = (
            f"There is no column {unknown[0][:40]!r}." if unknown else "One column each, and email is needed."
        )
        raise UsageError(said, hint=f"Columns: {', '.join(sorted(COLUMNS))}")
    yield from _rows(lines, columns, delimiter)


def _rows(
    lines: Iterator[tuple[int, str | Fault]], columns: list[str], delimiter: str
) -> Iterator[Record | Fault]:
    waiting: list[tuple[int, str | Fault]] = []
    while taken := waiting.pop(0) if waiting else next(lines, None):
        number, line = taken
        if isinstance(line, Fault):
            yield line
            continue
        record, used = line, [taken]
        # A quotation mark that is open goes on in the next line, for so many lines.
        while record.count('"') % 2 and len(used) < MAX_LINES:
            more = waiting.pop(0) if waiting else next(lines, None)
            if more is None:
                break
            used.append(more)
            if isinstance(more[1], Fault):
                break
            record += "\n" + more[1]
        if record.count('"') % 2:
            waiting[:0] = used[1:]
            yield Fault(number, "a quotation mark is opened and never closed")
        elif record.strip():
            yield _split(number, record, columns, delimiter)


def _split(number: int, record: str, columns: list[str], delimiter: str) -> Record | Fault:
    try:
        (fields,) = csv.reader([record], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        return Fault(number, "this cannot be read as CSV")
    if len(fields) != len(columns):
        return Fault(number, f"there are {len(fields)} columns where there should be {len(columns)}")
    return Record(number, dict(zip(columns, fields, strict=True)))
