"""The schemas of what sessions, `/api/v1/me` and administration answer with, and are sent."""

from typing import Any

from troth.access.roles import MAX_SCOPES

Node = dict[str, Any]

INSTANT: Node = {"type": "string", "format": "date-time"}
MAYBE_INSTANT: Node = {"type": ["string", "null"], "format": "date-time"}
ID: Node = {"type": "string", "format": "uuid"}
TEXT: Node = {"type": "string"}
MAYBE_TEXT: Node = {"type": ["string", "null"]}
FLAG: Node = {"type": "boolean"}
TEXTS: Node = {"type": "array", "items": TEXT}
_ACR: Node = {"type": "string", "enum": ["urn:troth:acr:1", "urn:troth:acr:2"]}


def object_of(required: Node, optional: Node | None = None) -> Node:
    """With these members and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _page(name: str) -> Node:
    return object_of({"items": {"type": "array", "items": reference(name)}, "next": MAYBE_TEXT})


def reference(name: str) -> Node:
    """To the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> Node:
    """Each under its name."""
    tenant = object_of({"slug": TEXT, "name": TEXT})
    role_scopes = {**TEXTS, "maxItems": MAX_SCOPES}
    lived = {
        "created_at": INSTANT,
        "authenticated_at": INSTANT,
        "seen_at": INSTANT,
        "expires_at": INSTANT,
    }
    kinds = {
        "Session": object_of(
            {
                "person": object_of({"id": ID, "name": TEXT, "email": TEXT}),
                "tenant": tenant,
                "domain": TEXT,
                "account": {"type": "string", "format": "uri"},
                "scopes": TEXTS,
                "authenticated_at": INSTANT,
                "expires_at": INSTANT,
            }
        ),
        "SessionToken": object_of(
            {
                "access_token": TEXT,
                "token_type": {"const": "Bearer"},
                "expires_in": {"type": "integer", "minimum": 0},
                "scope": TEXT,
            }
        ),
        "Me": object_of(
            {
                "person": object_of({"id": ID}, {"name": TEXT, "email": TEXT, "roles": TEXTS}),
                "tenant": tenant,
                "domain": TEXT,
                "client": TEXT,
                "scopes": TEXTS,
                "session": object_of(
                    {"acr": _ACR, "amr": TEXTS, "authenticated_at": INSTANT, "expires_at": INSTANT}
                ),
            }
        ),
        "User": object_of(
            {
                "id": ID,
                "email": TEXT,
                "name": TEXT,
                "roles": TEXTS,
                "disabled": FLAG,
                "created_at": INSTANT,
                "email_verified_at": MAYBE_INSTANT,
                "has_password": FLAG,
            }
        ),
        "UserBody": object_of(
            {
                "email": {"type": "string", "minLength": 3, "maxLength": 254},
                "name": {"type": "string", "minLength": 1, "maxLength": 120},
            },
            {
                "roles": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": 40},
                    "maxItems": 50,
                },
                "language": {"enum": ["en", "de", None]},
            },
        ),
        "Made": object_of({"id": ID}),
        "UserPatch": object_of(
            {},
            {
                "roles": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": 40},
                    "maxItems": 50,
                },
                "disabled": FLAG,
            },
        ),
        "Role": object_of(
            {
                "name": TEXT,
                "of": {"enum": ["platform", "tenant"]},
                "scopes": TEXTS,
                "people": {"type": "integer", "minimum": 0},
                "etag": TEXT,
            }
        ),
        "RoleBody": object_of({"scopes": role_scopes}),
        "RolePut": object_of({"name": TEXT, "scopes": role_scopes}),
        "AdminSession": object_of(
            {
                "id": ID,
                "person": ID,
                "domain": TEXT,
                "client": MAYBE_TEXT,
                "scopes": TEXTS,
                "acr": _ACR,
                **lived,
            }
        ),
        "Event": object_of(
            {
                "id": ID,
                "at": INSTANT,
                "event": TEXT,
                "principal": {"type": ["string", "null"], "format": "uuid"},
                "domain": MAYBE_TEXT,
                "request_id": MAYBE_TEXT,
                "detail": {"type": "object"},
            }
        ),
    }
    pages = {
        f"{name}Page": _page(name) for name in ("User", "Role", "AdminSession", "Event", "Client", "Domain")
    }
    return kinds | pages
