"""Schemas are compiled strictly at start; bodies are read strictly at every request."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.documents import TICKET
from troth.core.config import CollectionSettings
from troth.core.errors import ConfigError, Malformed, TooLarge, Unprocessable
from troth.data.collections import BODY_BYTES, DEPTH, compile_collection, load_collections, read_object

TICKETS = compile_collection("tickets", "", TICKET)


def faults(content: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Unprocessable) as caught:
        TICKETS.check(content)
    return dict(caught.value.errors)


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def test_a_member_twice_among_thousands_is_found_at_once() -> None:
    members = [f'"m{number}":0' for number in range(20_000)]
    body = ("{" + ",".join([*members, members[-1]]) + "}").encode()
    began = time.process_time()
    with pytest.raises(Malformed, match="'m19999' twice"):
        read_object(body)
    assert time.process_time() - began < 1


def test_content_that_fits_passes() -> None:
    TICKETS.check({"title": "t", "rooms": ["kitchen"], "due": "2026-11-23", "price": 1.5})
    assert TICKETS.title == "Tickets"


def test_every_fault_is_named_with_its_place() -> None:
    found = faults({"status": "lost", "rooms": ["ok", 7, "x" * 21], "due": "tomorrow", "a/b~c": 1})
    assert set(found) == {"/title", "/status", "/rooms/1", "/rooms/2", "/due", "/a~1b~0c"}
    assert found["/title"] == "is required"
    assert found["/a~1b~0c"] == "is not a member of this document"


def test_a_fault_does_not_repeat_the_value() -> None:
    assert "hunter2" not in str(faults({"title": "t", "status": "hunter2"}))


def test_members_that_the_server_sets_are_refused() -> None:
    assert faults({"title": "t", "_meta": {"owner": "me"}})["/_meta"] == "is set by the server; leave it out"


def test_the_number_of_faults_told_is_bounded() -> None:
    with pytest.raises(Unprocessable) as caught:
        TICKETS.check({"title": "t", "rooms": list(range(10_000))})
    assert len(caught.value.errors) == 50


def test_a_pattern_with_nested_repetition_is_matched_in_linear_time() -> None:
    started = time.perf_counter()
    assert "/slug" in faults({"title": "t", "slug": "a" * 50_000 + "!"})
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"text"', "object"),
        (b'{"a":1,"a":2}', "'a' twice"),
        (b'{"b":{"a":1,"\\u0061":2}}', "'a' twice"),
        (b'{"a":NaN}', "JSON"),
        (b'{"a":Infinity}', "JSON"),
        (b'{"a":1e999}', "range"),
        (b'{"a":' + b"9" * 5000 + b"}", "range"),
        (b'{"a":"\\u0000"}', "null character"),
        (b'{"a\\u0000":1}', "null character"),
        (b'{"a":[["\\u0000"]]}', "null character"),
        (b'{"a":"\\ud800"}', "JSON"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "JSON"),
        (b'{"a":1}garbage', "JSON"),
        (b"{'a':1}", "JSON"),
        (b'{"a":01}', "JSON"),
        (nested(DEPTH + 1), "levels deep"),
        (nested(20_000), "too deeply"),
        (b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b"}", "too deeply"),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        read_object(body)


def test_a_body_may_be_as_deep_and_as_large_as_promised() -> None:
    assert read_object(nested(DEPTH)) == json.loads(nested(DEPTH))
    padding = b" " * (BODY_BYTES - 2)
    assert read_object(b"{" + padding + b"}") == {}
    with pytest.raises(TooLarge):
        read_object(b"{" + padding + b" }")


@given(st.binary(max_size=200))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    try:
        value = read_object(body)
    except Malformed:
        return
    assert value == json.loads(body)


@pytest.mark.parametrize(
    "schema",
    [
        [],
        True,
        {"type": "array"},
        {"properties": {}},
        {"type": "object", "properties": {"a": {"type": "strin"}}},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"pattern": "(?=x)y"}}},
        {"type": "object", "properties": {"a": {"format": "no-such-format"}}},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"type": "object", "properties": {"_meta": {}}},
        {"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"},
    ],
)
def test_a_schema_that_is_none_stops_the_start(schema: object) -> None:
    with pytest.raises(ConfigError) as caught:
        compile_collection("tickets", "", schema, file=Path("ticket.json"))
    assert caught.value.key == "collections.tickets.schema"
    assert caught.value.file == Path("ticket.json")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "Tickets", "1st", "a-b", "a" * 41, "../x", "a:b"])
def test_a_collection_with_an_unfit_name_stops_the_start(name: str) -> None:
    with pytest.raises(ConfigError):
        compile_collection(name, "", TICKET)


def test_schemas_are_read_from_their_files(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(TICKET))
    bad.write_text('{"type": "object",')
    loaded = load_collections({"tickets": CollectionSettings(schema=good, title="Requests")})
    assert loaded["tickets"].title == "Requests"
    for file in (bad, tmp_path / "missing.json", tmp_path):
        with pytest.raises(ConfigError) as caught:
            load_collections({"tickets": CollectionSettings(schema=file)})
        assert caught.value.file == file
