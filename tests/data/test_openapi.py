"""The description is valid OpenAPI 3.1 and follows the collections."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from support.documents import TICKET, collections
from troth.core.config import CollectionSettings
from troth.core.scope import parse_scope
from troth.data.collections import compile_collection, load_collections
from troth.data.openapi import describe_api, write_api


def describe() -> dict[str, Any]:
    return msgspec.json.decode(write_api(collections(), title="Residents", version="0.1.0"))


def test_the_description_is_valid() -> None:
    errors = OpenAPIV31SpecValidator(describe()).iter_errors()
    assert [error.message for error in errors] == []


def test_a_description_without_collections_is_valid() -> None:
    assert not list(OpenAPIV31SpecValidator(describe_api({}, title="Empty", version="0.1.0")).iter_errors())


def test_every_collection_has_every_operation_with_its_scope() -> None:
    paths = describe()["paths"]
    assert set(paths) == {
        "/api/v1/tickets",
        "/api/v1/tickets/{id}",
        "/api/v1/notices",
        "/api/v1/notices/{id}",
    }
    item = paths["/api/v1/tickets/{id}"]
    asked = {method: item[method]["security"] for method in ("get", "put", "patch", "delete")}
    assert asked == {
        "get": [{"oauth2": ["tickets:read:own"]}],
        "put": [{"oauth2": ["tickets:update:own"]}],
        "patch": [{"oauth2": ["tickets:update:own"]}],
        "delete": [{"oauth2": ["tickets:delete:own"]}],
    }


def test_every_scope_it_names_follows_the_grammar_and_is_declared() -> None:
    described = describe()
    declared = described["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]["scopes"]
    for text in declared:
        assert str(parse_scope(text)) == text
    for path in described["paths"].values():
        for operation in path.values():
            if "security" in operation:
                assert set(operation["security"][0]["oauth2"]) <= set(declared)


def test_every_reference_leads_somewhere() -> None:
    described = describe()

    references = set(re.findall(r'"\$ref":"#/([^"]+)"', json.dumps(described, separators=(",", ":"))))
    assert len(references) > 20
    for reference in references:
        found: Any = described
        for part in reference.split("/"):
            found = found[part]


def test_the_schema_is_shown_as_it_was_given_but_for_references_into_itself() -> None:
    shown = describe()["components"]["schemas"]["tickets.content"]
    room = shown["properties"]["rooms"]["items"].pop("$ref")
    given = json.loads(json.dumps(TICKET))
    given["properties"]["rooms"]["items"].pop("$ref")
    assert shown == given
    assert room == "#/components/schemas/tickets.content/$defs/room"


def test_a_schema_with_an_id_of_its_own_stays_valid() -> None:
    schema = json.loads(json.dumps(TICKET)) | {"$id": "https://example.org/ticket.json"}
    schema["properties"]["rooms"]["items"]["$ref"] = "https://example.org/ticket.json#/$defs/room"
    described = describe_api({"tickets": compile_collection("tickets", "", schema)}, title="R", version="1")
    assert not list(OpenAPIV31SpecValidator(described).iter_errors())
    rooms = described["components"]["schemas"]["tickets.content"]["properties"]["rooms"]
    assert rooms["items"] == {"$ref": "#/components/schemas/tickets.content/$defs/room"}


def test_the_collections_of_the_example_make_a_valid_description() -> None:
    schemas = Path(__file__).parents[2] / "examples" / "residents" / "schemas"
    declared = {file.stem: CollectionSettings(schema=file) for file in schemas.glob("*.json")}
    assert len(declared) >= 2
    described = describe_api(load_collections(declared), title="Residents", version="0.1.0")
    assert not list(OpenAPIV31SpecValidator(described).iter_errors())


def test_the_same_collections_give_the_same_bytes() -> None:
    assert write_api(collections(), title="R", version="1") == write_api(
        collections(), title="R", version="1"
    )


@pytest.mark.parametrize("status", ["401", "403", "404", "412", "422", "428"])
def test_errors_are_problems(status: str) -> None:
    answer = describe()["components"]["responses"][f"Problem{status}"]
    assert set(answer["content"]) == {"application/problem+json"}
