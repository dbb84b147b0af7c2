"""The API's description, OpenAPI 3.1, made from the collections alone: a pure function."""

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote

import msgspec

from troth.core.scope import ACTIONS
from troth.data.collections import BODY_BYTES, META, Collection, Collections
from troth.data.documents import KEEP_ANSWERS, LONGEST_PAGE, PAGE

Node = dict[str, Any]

_INSTANT = "2026-11-23T16:00:00.000Z"
_IDENTIFIER = "0190a3c4-7a5e-7cc1-8f7b-3d5c9b1e2f40"
_PERSON = "0190a3c4-1b2c-7d3e-9f40-5a6b7c8d9e0f"

_PROBLEMS = {
    "400": "The request cannot be read.",
    "401": "The access token is missing, expired, forged or of a session that ended.",
    "403": "The access token lacks the scope that `scope` names.",
    "404": "There is nothing here that the caller may see.",
    "409": "The request collides with what is stored.",
    "412": "Somebody changed the document in the meantime.",
    "413": f"The body is larger than {BODY_BYTES // 1024} KiB.",
    "415": "This content type is not accepted.",
    "422": "The content does not fit its schema; `errors` lists what is wrong where.",
    "428": "If-Match is missing.",
    "503": "The outcome is unknown; repeat with the same Idempotency-Key.",
}


def describe_api(collections: Collections, *, title: str, version: str) -> Node:
    """The description as plain data. `title` names the platform, `version` is Troth's."""
    paths: Node = {}
    for collection in collections.values():
        paths[f"/api/v1/{collection.name}"] = _collection_path(collection)
        paths[f"/api/v1/{collection.name}/{{id}}"] = _item_path(collection)
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": title, "version": version, "description": _DESCRIPTION},
        "servers": [{"url": "/", "description": "This client domain"}],
        "security": [{"oauth2": []}],
        "tags": [{"name": each.name, "description": each.title} for each in collections.values()],
        "paths": paths,
        "components": {
            "schemas": _schemas(collections),
            "responses": {f"Problem{status}": _problem(status) for status in _PROBLEMS},
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {"oauth2": _security(collections)},
        },
    }


def write_api(collections: Collections, *, title: str, version: str) -> bytes:
    """The description as JSON."""
    return msgspec.json.encode(describe_api(collections, title=title, version=version))


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


_DESCRIPTION = f"""\
Documents of this client domain. Every call needs an access token (`Authorization: Bearer`), which lives for
minutes and ends with its session. A document is its content with one member added, `{META}`, which the server
alone sets and a request must leave out. A scope is `collection:action[:own[:field,field]]`; with fields, only
those are shown and may be written. Errors are problem details (RFC 9457) with a stable `code`."""

_PARAMETERS: Node = {
    "Id": {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
        "example": _IDENTIFIER,
    },
    "After": {
        "name": "after",
        "in": "query",
        "description": "The `next` of the page before.",
        "schema": {"type": "string"},
    },
    "Limit": {
        "name": "limit",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The ETag of the version that this change is based on.",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "IfMatchOptional": {
        "name": "If-Match",
        "in": "header",
        "description": "Delete only this version.",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "Answer 304 while the document still has this ETag.",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Unlike any other of yours. A repeated request with the same key and content gets the "
        f"first one's answer for {KEEP_ANSWERS.days * 24 + KEEP_ANSWERS.seconds // 3600} hours.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        "example": '"8e03978e-40d5-43e8-bc93-6894a57f9324"',
    },
}

_HEADERS: Node = {
    "ETag": {
        "description": "The document's version, a strong entity tag.",
        "schema": {"type": "string"},
        "example": '"3"',
    },
    "Location": {
        "description": "Where the new document is.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "RequestId": {
        "description": "Quote it when you ask about this call.",
        "schema": {"type": "string"},
    },
    "Challenge": {
        "description": "RFC 6750 section 3.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="api", error="insufficient_scope", scope="tickets:read"',
    },
}

_META_SCHEMA: Node = {
    "type": "object",
    "description": "Set by the server alone.",
    "readOnly": True,
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "owner": {"type": "string", "format": "uuid", "description": "The person who made it."},
        "version": {"type": "integer", "minimum": 1},
        "created_at": {"type": "string", "format": "date-time"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
    "required": ["id", "owner", "version", "created_at", "updated_at"],
    "examples": [
        {
            "id": _IDENTIFIER,
            "owner": _PERSON,
            "version": 1,
            "created_at": _INSTANT,
            "updated_at": _INSTANT,
        }
    ],
}

_PROBLEM_SCHEMA: Node = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; the one to program against."},
        "request_id": {"type": "string"},
        "scope": {"type": "string", "description": "The scope that would have allowed the call."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
                "required": ["pointer", "detail"],
            },
        },
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "examples": [
        {
            "type": "urn:troth:problem:not_found",
            "title": "There is nothing here",
            "status": 404,
            "detail": "There is no such document.",
            "code": "not_found",
            "request_id": "5f2b6c1e9a7d4f0c8b3e2a1d0c9f8e7b",
        }
    ],
}


def _schemas(collections: Collections) -> Node:
    schemas: Node = {"Meta": _META_SCHEMA, "Problem": _PROBLEM_SCHEMA}
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
        "description": _PROBLEMS[status],
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in ("401", "403"):
        answer["headers"]["WWW-Authenticate"] = {"$ref": "#/components/headers/Challenge"}
    return answer


def _security(collections: Collections) -> Node:
    return {
        "type": "oauth2",
        "description": "Authorization code with PKCE (S256); tokens live for 300 seconds.",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": "/oauth/authorize",
                "tokenUrl": "/oauth/token",
                "scopes": dict(scopes_of(collections)),
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
