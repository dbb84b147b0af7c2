"""The parts of the API's description that are the same for every collection."""

from typing import Any

from troth.data.collections import BODY_BYTES, META
from troth.data.documents import KEEP_ANSWERS, LONGEST_PAGE, PAGE

Node = dict[str, Any]

_INSTANT = "2026-11-23T16:00:00.000Z"
_IDENTIFIER = "0190a3c4-7a5e-7cc1-8f7b-3d5c9b1e2f40"
_PERSON = "0190a3c4-1b2c-7d3e-9f40-5a6b7c8d9e0f"

PROBLEMS = {
    "400": "The request cannot be read.",
    "401": "The access token is missing, expired, forged or of a session that ended.",
    "403": "The access token lacks the scope that `scope` names.",
    "404": "There is nothing here that the caller may see.",
    "409": "There is one by this name already.",
    "412": "Somebody changed the document in the meantime.",
    "413": f"The body is larger than {BODY_BYTES // 1024} KiB.",
    "415": "This content type is not accepted.",
    "422": "The content does not fit its schema; `errors` lists what is wrong where.",
    "428": "If-Match is missing.",
    "429": "Too often; `Retry-After` says when to come back.",
    "503": "The outcome is unknown; repeat with the same Idempotency-Key.",
}


DESCRIPTION = f"""\
Documents of this client domain. Every call needs an access token (`Authorization: Bearer`), which lives for
minutes and ends with its session. A document is its content with one member added, `{META}`, which the server
alone sets and a request must leave out. A scope is `collection:action[:own[:field,field]]`; with fields, only
those are shown and may be written. Errors are problem details (RFC 9457) with a stable `code`."""

PARAMETERS: Node = {
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

HEADERS: Node = {
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

META_SCHEMA: Node = {
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

PROBLEM_SCHEMA: Node = {
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
