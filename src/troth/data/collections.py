"""Collections: what a document of each kind may hold, and how a body becomes one.

A schema is JSON Schema 2020-12, compiled once at start. It never fetches anything: a `$ref` to a URL would
let a schema file reach into the network. Patterns run on an engine of linear time, so that no string makes
the server think for minutes (ReDoS).
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError, ValidationErrorKind

from troth.core.config import CollectionSettings
from troth.core.document_schema import DIALECT
from troth.core.errors import ConfigError, Malformed, TooLarge, Unprocessable
from troth.core.scope import COLLECTION_NAME

BODY_BYTES: Final = 256 * 1024
"""Largest body of a request, and largest content of a document, in bytes of JSON."""

DEPTH: Final = 32
"""Deepest nesting of arrays and objects in a document."""

META: Final = "_meta"
"""Member of every answer that the server sets; no document holds one of its own."""

_ERRORS = 50
_SENTENCE = 300

Content = dict[str, Any]


class Collection:
    """One kind of document. `schema` is what its content is checked against."""

    __slots__ = ("_validator", "name", "schema", "title")

    def __init__(
        self, name: str, title: str, schema: Mapping[str, Any], validator: Draft202012Validator
    ) -> None:
        self.name = name
        self.title = title
        self.schema = schema
        self._validator = validator

    def __repr__(self) -> str:
        return f"Collection({self.name})"

    @property
    def fields(self) -> tuple[str, ...]:
        """The properties that the schema names."""
        return tuple(self.schema.get("properties", {}))

    def check(self, content: Content) -> None:
        """Raises Unprocessable listing each fault, as (JSON pointer, sentence)."""
        faults: list[tuple[str, str]] = []
        if META in content:
            faults.append((f"/{META}", "is set by the server; leave it out"))
            content = {name: value for name, value in content.items() if name != META}
        for error in self._validator.iter_errors(content):
            faults.extend(_faults(error))
            if len(faults) >= _ERRORS:
                break
        if faults:
            raise Unprocessable(
                f"This is not a valid document of {self.name}.", errors=tuple(faults[:_ERRORS])
            )


Collections = Mapping[str, Collection]


def load_collections(declared: Mapping[str, CollectionSettings]) -> Collections:
    """Read and compile the schema of each collection. Raises ConfigError naming file and key."""
    return {name: _load(name, settings) for name, settings in declared.items()}


def compile_collection(name: str, title: str, schema: object, *, file: Path | None = None) -> Collection:
    """Compile one schema. Raises ConfigError when it is not a JSON Schema 2020-12 of an object."""
    key = f"collections.{name}"
    if not COLLECTION_NAME.fullmatch(name):
        raise ConfigError(
            f"The collection {name!r} has a name that cannot stand in an address.",
            file=file,
            key=key,
            hint="Use small letters, digits and _, beginning with a letter, at most 40.",
        )
    key += ".schema"
    _check_shape(name, schema, file, key)
    valid = cast("dict[str, Any]", schema)
    try:
        validator = Draft202012Validator(
            valid,
            validate_formats=True,
            ignore_unknown_formats=False,
            offline=True,
            pattern_options=RegexOptions(),
            mask="the value",
        )
    except (ValidationError, ValueError) as error:
        raise ConfigError(
            f"The schema of collection {name} is not a JSON Schema (2020-12): {_first_line(error)}",
            file=file,
            key=key,
            hint="Correct the schema file; references must stay within it, patterns have no look-around.",
        ) from None
    return Collection(name, title or name.replace("_", " ").capitalize(), valid, validator)


def _load(name: str, settings: CollectionSettings) -> Collection:
    key = f"collections.{name}.schema"
    try:
        schema = _decode(settings.schema.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"The schema of collection {name} cannot be read: {error.strerror}.",
            file=settings.schema,
            key=key,
            hint="Name an existing JSON file.",
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"The schema of collection {name} is not JSON: {error}.",
            file=settings.schema,
            key=key,
            hint="Correct the file.",
        ) from None
    return compile_collection(name, settings.title, schema, file=settings.schema)


def _check_shape(name: str, schema: object, file: Path | None, key: str) -> None:
    problem, hint = "", ""
    if not isinstance(schema, dict) or cast("Content", schema).get("type") != "object":
        problem, hint = "does not describe an object", 'A document is a JSON object: say "type": "object".'
    elif cast("Content", schema).get("$schema", DIALECT) != DIALECT:
        problem, hint = "is of another dialect", f'Say "$schema": "{DIALECT}".'
    elif META in cast("Content", schema).get("properties", {}):
        problem, hint = f"declares {META}", "The server sets that member; give yours another name."
    if problem:
        raise ConfigError(f"The schema of collection {name} {problem}.", file=file, key=key, hint=hint)


def read_object(body: bytes) -> Content:
    """A request's body as a JSON object, read strictly.

    Raises TooLarge or Malformed. Twice the same member is refused because two readers would disagree on which
    one counts; so are numbers out of range, lone surrogates, NaN, null characters and deep nesting.
    """
    if len(body) > BODY_BYTES:
        raise TooLarge(f"A document holds at most {BODY_BYTES // 1024} KiB of JSON.")
    try:
        value = _decode(body)
    except ValueError as error:
        raise Malformed(f"The body is not acceptable JSON: {error}.") from None
    if not isinstance(value, dict):
        raise Malformed("The body must be a JSON object.")
    content = cast("Content", value)
    _check_values(content)
    return content


def _decode(text: bytes) -> object:
    """Strict JSON. Raises ValueError with a sentence part."""
    try:
        value = msgspec.json.decode(text)
        json.loads(text, object_pairs_hook=_refuse_twice)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except msgspec.MsgspecError as error:
        raise ValueError(str(error).removeprefix("JSON is malformed: ")) from None
    return value


def _refuse_twice(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    # Linear: counting each name anew held the whole instance for nine seconds with one body of 240 KB.
    counted = Counter(name for name, _ in pairs)
    twice = next(name for name, times in counted.items() if times > 1)
    raise ValueError(f"an object has the member {twice[:60]!r} twice")


def _check_values(content: Content) -> None:
    """Bounds the depth and refuses null characters, level by level, without recursion."""
    level: list[object] = [content]
    for _ in range(DEPTH + 1):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise Malformed(f"The body is nested more than {DEPTH} levels deep.")


def _children(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for name, child in cast("Content", value).items():
            yield name
            yield child
    elif isinstance(value, list):
        yield from cast("list[object]", value)
    elif isinstance(value, str) and "\0" in value:
        raise Malformed("A string holds a null character.")


def _faults(error: ValidationError) -> Iterator[tuple[str, str]]:
    at = "".join(f"/{_escape(str(part))}" for part in error.instance_path)
    kind = error.kind
    if isinstance(kind, ValidationErrorKind.Required):
        yield f"{at}/{_escape(str(kind.property))}", "is required"
    elif isinstance(kind, ValidationErrorKind.AdditionalProperties):
        for name in kind.unexpected:
            yield f"{at}/{_escape(name)}"[:_SENTENCE], "is not a member of this document"
    else:
        yield at[:_SENTENCE], error.message[:_SENTENCE]


def _escape(part: str) -> str:
    """One reference token of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:_SENTENCE]
