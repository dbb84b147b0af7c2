"""Turning parsed TOML into structs, noting every fault rather than the first alone.

The structs are the only description of the file's shape: what a key is called, of which type it is, and
whether it may be left out. Strict: `"3"` is no number and 1 is no truth.
"""

import os
import typing
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import FieldInfo

from troth.core.faults import Faults, did_you_mean
from troth.core.toml_lines import KeyPath

_NAME_LIMIT = 255
"""Bytes of one name in a path (NAME_MAX)."""

Table = TypeVar("Table", bound=msgspec.Struct)


def read_table(value: object, kind: type[Table], faults: Faults, path: KeyPath = ()) -> Table | None:
    """The struct for a table, or None when faults were noted."""
    if not isinstance(value, dict):
        faults.add(path, f"This must be a table, but it is {_show(value)}.", "Write it as a [table].")
        return None
    table = cast("dict[str, object]", value)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    sound = _note_unknown(table, fields, faults, path)
    values: dict[str, object] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _read_value(table[name], field.type, faults, (*path, name))
            sound = sound and values[name] is not None
        elif field.required:
            _note_missing(field, faults, path)
            sound = False
    return kind(**values) if sound else None


def _note_unknown(
    table: dict[str, object], fields: dict[str, FieldInfo], faults: Faults, path: KeyPath
) -> bool:
    unknown = table.keys() - fields.keys()
    for name in unknown:
        hint = did_you_mean(name, fields.keys() - table.keys(), "Remove it.")
        faults.add((*path, name), f"There is no key “{name[:60]}” here.", hint)
    return not unknown


def _note_missing(field: FieldInfo, faults: Faults, path: KeyPath) -> None:
    name = field.encode_name
    faults.add((*path, name), f"The key “{name}” is missing.", f"Add it: {_example(field.type, name)}.")


def _example(kind: Any, name: str) -> str:
    origin = typing.get_origin(kind)
    if origin is dict:
        return f"[{name}.some-name]"
    if origin is tuple:
        element = typing.get_args(kind)[0]
        return f"[[{name}]]" if _is_struct(element) else f"{name} = [ … ]"
    return f"[{name}]" if _is_struct(kind) else f"{name} = …"


def _read_value(value: object, kind: Any, faults: Faults, path: KeyPath) -> object | None:
    """The typed value, or None when faults were noted; TOML has no null, so None is free for that."""
    arguments = typing.get_args(kind)
    if _is_struct(kind):
        return read_table(value, kind, faults, path)
    for one in arguments if type(None) in arguments else ():
        if _is_struct(one):  # a table that may be left out
            return read_table(value, one, faults, path)
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        members = cast("dict[str, object]", value)
        read = {
            name: _read_value(member, arguments[1], faults, (*path, name)) for name, member in members.items()
        }
        return None if None in read.values() else read
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        elements = cast("list[object]", value)
        found = [
            _read_value(part, arguments[0], faults, (*path, index)) for index, part in enumerate(elements)
        ]
        return None if None in found else tuple(found)
    return _read_plain(value, kind, faults, path)


def _read_plain(value: object, kind: Any, faults: Faults, path: KeyPath) -> object | None:
    try:
        return msgspec.convert(value, kind, strict=True, dec_hook=_read_path)
    except msgspec.ValidationError:
        expected = msgspec.inspect.type_info(kind)
        if isinstance(expected, msgspec.inspect.UnionType):
            expected = expected.types[0]  # an optional key: in the file it is either left out or of this type
        wanted, sample = _describe(expected)
        name = next(part for part in reversed(path) if isinstance(part, str))
        faults.add(path, f"This must be {wanted}, but it is {_show(value)}.", f"Write {name} = {sample}.")
        return None


def _read_path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str):
        raise TypeError(f"no {kind.__name__}")
    if "\0" in value or any(len(os.fsencode(part)) > _NAME_LIMIT for part in value.split("/")):
        raise ValueError("no file can be called so")
    return Path(value)


def _describe(expected: msgspec.inspect.Type) -> tuple[str, str]:
    """The words for a type, and a sample of it."""
    match expected:
        case msgspec.inspect.IntType(ge=int(low), le=int(high)):
            return f"a whole number from {low} to {high}", str(low)
        case msgspec.inspect.IntType():
            return "a whole number", "1"
        case msgspec.inspect.LiteralType(values=values):
            words = [f'"{value}"' for value in values if value]
            return f"one of {', '.join(words)}", words[0]
        case msgspec.inspect.BoolType():
            return "true or false", "true"
        case msgspec.inspect.StrType():
            return "text in quotes", '"…"'
        case msgspec.inspect.CustomType():
            return "a path in quotes", '"…"'
        case msgspec.inspect.VarTupleType():
            return "a list", "[ … ]"
        case _:
            return "a table", "{ … }"


def _show(value: object) -> str:
    """What stands there instead. A value is shown when it is short and a number; text could be a secret in
    the wrong place, so it is only named."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)[:30]
        case str():
            return "text" if len(value) < _NAME_LIMIT else "a long text"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
