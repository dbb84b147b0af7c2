"""Reading the JSON Schema of a collection: is it there, is it JSON, is it a schema of an object?"""

import json
from pathlib import Path
from typing import cast

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from troth.core.files import read_up_to

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MAX_SCHEMA_BYTES = 256 * 1024


class SchemaFault(ValueError):
    """What is wrong, the line where (None: the whole file), and what to do."""

    def __init__(self, public: str, hint: str, line: int | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.hint = hint
        self.line = line


def read_schema(file: Path) -> dict[str, object]:
    """The schema in `file`. Raises SchemaFault; nothing is fetched, whatever `$ref` says."""
    schema = _read_json(file)
    if schema.get("$schema", DIALECT) != DIALECT:
        raise SchemaFault("The schema is of another dialect.", f'Write "$schema": "{DIALECT}".')
    if schema.get("type") != "object":
        raise SchemaFault("The schema does not describe an object.", 'Add "type": "object".')
    try:
        # Offline: a reference to a URL would let this file send requests from the server (SSRF). Patterns run
        # in linear time: no document can make one search for minutes (ReDoS).
        Draft202012Validator(schema, offline=True, pattern_options=RegexOptions())
    except (ValidationError, ValueError) as error:
        raise SchemaFault(f"This is no JSON Schema (2020-12): {_say(error)}.", "Mend it there.") from None
    return schema


def property_names(schema: dict[str, object]) -> frozenset[str]:
    """The properties the schema names on its first level."""
    properties = schema.get("properties")
    return frozenset(cast("dict[str, object]", properties)) if isinstance(properties, dict) else frozenset()


def _read_json(file: Path) -> dict[str, object]:
    try:
        text = read_up_to(file, MAX_SCHEMA_BYTES)
        if len(text) > MAX_SCHEMA_BYTES:
            raise SchemaFault(
                f"The schema is larger than {MAX_SCHEMA_BYTES // 1024} KiB.", "Make it smaller."
            )
        value: object = json.loads(text.decode("utf-8"))
    except OSError as error:
        raise SchemaFault(f"The schema cannot be read: {error.strerror}.", f"Create {file}.") from None
    except json.JSONDecodeError as error:
        raise SchemaFault(f"The schema is not JSON: {error.msg}.", "Mend it there.", error.lineno) from None
    except (UnicodeDecodeError, RecursionError):
        raise SchemaFault("The schema is not JSON in UTF-8 of a sane depth.", "Mend it there.") from None
    if not isinstance(value, dict):
        raise SchemaFault("The schema is no JSON object.", "Write { … } around it.")
    return cast("dict[str, object]", value)


def _say(error: Exception) -> str:
    """One line, with the place inside the schema where the library tells it."""
    place = ""
    if isinstance(error, ValidationError):
        place = "".join(f"/{part}" for part in error.instance_path)
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"at {place}, {said[:200]}" if place else said[:200]
