"""The API's description, OpenAPI 3.1, made from the collections alone: a pure function."""

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

import msgspec

from troth.core.document_schema import DIALECT
from troth.core.scope import ACTIONS
from troth.data.collections import META, Collection, Collections
from troth.data.openapi_parts import (
    DESCRIPTION,
    HEADERS,
    META_SCHEMA,
    PARAMETERS,
    PROBLEM_SCHEMA,
    PROBLEMS,
    Node,
)

_NOTHING: Node = {"paths": {}, "schemas": {}, "scopes": {}, "tags": [], "security_schemes": {}}


def describe_api(collections: Collections, *, title: str, version: str, beside: Node | None = None) -> Node:
    """The description as plain data. `title` names the platform, `version` is Troth's. `beside` is what other
    rooms describe: their `paths`, `schemas`, `scopes`, `tags` and `security_schemes`."""
    more: Node = _NOTHING | (beside or {})
    paths: Node = {}
    for collection in collections.values():
        paths[f"/api/v1/{collection.name}"] = _collection_path(collection)
        paths[f"/api/v1/{collection.name}/{{id}}"] = _item_path(collection)
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": title, "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/", "description": "This client domain"}],
        "security": [{"oauth2": []}],
        "tags": [{"name": each.name, "description": each.title} for each in collections.values()]
        + more["tags"],
        "paths": paths | more["paths"],
        "components": {
            "schemas": _schemas(collections) | more["schemas"],
            "responses": {f"Problem{status}": _problem(status) for status in PROBLEMS},
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": {
                "oauth2": _security(dict(scopes_of(collections)) | more["scopes"]),
                **more["security_schemes"],
            },
        },
    }


def write_api(collections: Collections, *, title: str, version: str, beside: Node | None = None) -> bytes:
    """The description as JSON."""
    return msgspec.json.encode(describe_api(collections, title=title, version=version, beside=beside))


def scopes_of(collections: Collections) -> Iterator[tuple[str, str]]:
    """Every scope without fields, and what it allows, as a consent page would say it."""
    for collection in collections.values():
        for action in ACTIONS:
            yield f"{collection.name}:{action}", f"{action} {collection.title}"
            if action != "create":
                yield f"{collection.name}:{action}:own", f"{action} your own {collection.title}"
        if collection.fields:
            fields = ",".join(sorted(collection.fields)[:2])
            yield f"{collection.name}:read:own:{fields}", f"read {fields} of your own {collection.title}"


def _schemas(collections: Collections) -> Node:
    schemas: Node = {"Meta": META_SCHEMA, "Problem": PROBLEM_SCHEMA}
    for collection in collections.values():
        schemas[f"{collection.name}.content"] = _embeddable(collection)
        schemas[f"{collection.name}.document"] = _document_schema(collection)
        schemas[f"{collection.name}.page"] = {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": _schema(collection, "document")},
                "next": {"type": ["string", "null"], "description": "Pass it as `after`; null at the end."},
            },
            "required": ["items", "next"],
        }
    return schemas


def _embeddable(collection: Collection) -> Node:
    """The schema in its new place: references into itself are rewritten: few tools follow `$id`."""
    schema = dict(collection.schema)
    own = str(schema.pop("$id", ""))
    return _move(schema, own, f"#/components/schemas/{collection.name}.content")


def _move(node: Any, own: str, place: str) -> Any:
    if isinstance(node, list):
        return [_move(each, own, place) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    moved: Node = {}
    for name, value in cast("Node", node).items():
        if name in _LITERAL:
            moved[name] = value
        elif name == "$ref" and isinstance(value, str) and value.removeprefix(own).startswith("#"):
            moved[name] = place + value.removeprefix(own)[1:]
        else:
            moved[name] = _move(value, own, place)
    return moved


_LITERAL = ("const", "enum", "default", "examples")
"""Keywords whose values are data, not schemas."""


def _document_schema(collection: Collection) -> Node:
    """What is read: `_meta` and the fields that the token may read, hence nothing else is required."""
    properties: Node = {META: {"$ref": "#/components/schemas/Meta"}}
    content = _schema(collection, "content")["$ref"]
    for field in collection.fields:
        properties[field] = {"$ref": f"{content}/properties/{_fragment(field)}"}
    return {"type": "object", "properties": properties, "required": [META]}


def _fragment(field: str) -> str:
    """A member's name in a JSON pointer that stands in a URI (RFC 6901 section 6)."""
    return quote(field.replace("~", "~0").replace("/", "~1"), safe="~")


def _schema(collection: Collection, kind: str) -> Node:
    return {"$ref": f"#/components/schemas/{collection.name}.{kind}"}


def _problem(status: str) -> Node:
    answer: Node = {
        "description": PROBLEMS[status],
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in ("401", "403"):
        answer["headers"]["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    return answer


def _security(scopes: Node) -> Node:
    return {
        "type": "oauth2",
        "description": "Authorization code with PKCE (S256); tokens live for 300 seconds.",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "/oauth/authorize",
                "tokenUrl": "/oauth/token",
                "scopes": scopes,
            }
        },
    }


def _operation(
    collection: Collection,
    action: str,
    identifier: str,
    summary: str,
    *,
    parameters: tuple[str, ...],
    answers: Node,
    problems: tuple[str, ...],
    body: Node | None = None,
) -> Node:
    own = "" if action == "create" else ":own"
    operation: Node = {
        "operationId": f"{identifier}_{collection.name}",
        "summary": summary,
        "tags": [collection.name],
        "security": [{"oauth2": [f"{collection.name}:{action}{own}"]}],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in parameters],
        "responses": answers
        | {
            status: {"$ref": f"#/components/responses/Problem{status}"}
            for status in ("401", "403", *problems, "503")
        },
    }
    if body is not None:
        operation["requestBody"] = body
    return operation


def _answer(description: str, schema: Node | None, *headers: str) -> Node:
    answer: Node = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
    }
    if schema is not None:
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


def _body(schema: Node, *kinds: str) -> Node:
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}


def _collection_path(collection: Collection) -> Node:
    content = _schema(collection, "content")
    return {
        "get": _operation(
            collection,
            "read",
            "list",
            f"{collection.title}, the newest first",
            parameters=("After", "Limit"),
            answers={"200": _answer("One page.", _schema(collection, "page"))},
            problems=("400",),
        ),
        "post": _operation(
            collection,
            "create",
            "create",
            f"Add to {collection.title}",
            parameters=("IdempotencyKey",),
            answers={"201": _answer("Stored.", _schema(collection, "document"), "ETag", "Location")},
            problems=("400", "413", "415", "422"),
            body=_body(content, "application/json"),
        ),
    }


def _item_path(collection: Collection) -> Node:
    document = _schema(collection, "document")
    changed = {"200": _answer("Changed.", document, "ETag")}
    unchanged = {"304": _answer("Not changed since.", None, "ETag")}
    wrong = ("400", "404", "412", "413", "415", "422", "428")
    return {
        "parameters": [{"$ref": "#/components/parameters/Id"}],
        "get": _operation(
            collection,
            "read",
            "read",
            f"One of {collection.title}",
            parameters=("IfNoneMatch",),
            answers={"200": _answer("The document.", document, "ETag")} | unchanged,
            problems=("404",),
        ),
        "put": _operation(
            collection,
            "update",
            "replace",
            "Replace the content",
            parameters=("IfMatch",),
            answers=changed,
            problems=wrong,
            body=_body(_schema(collection, "content"), "application/json"),
        ),
        "patch": _operation(
            collection,
            "update",
            "patch",
            "Change members (JSON merge patch, RFC 7396)",
            parameters=("IfMatch",),
            answers=changed,
            problems=wrong,
            body=_body({"type": "object"}, "application/merge-patch+json", "application/json"),
        ),
        "delete": _operation(
            collection,
            "delete",
            "delete",
            "Delete",
            parameters=("IfMatchOptional",),
            answers={"204": _answer("Deleted.", None)},
            problems=("404", "412"),
        ),
    }
