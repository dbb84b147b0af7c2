"""The schemas of what sessions, `/api/v1/me` and administration answer with, and are sent."""

from typing import Any

from troth.access.roles import MAX_SCOPES

Node = dict[str, Any]

_INSTANT: Node = {"type": "string", "format": "date-time"}
_MAYBE_INSTANT: Node = {"type": ["string", "null"], "format": "date-time"}
_ID: Node = {"type": "string", "format": "uuid"}
_TEXT: Node = {"type": "string"}
_MAYBE_TEXT: Node = {"type": ["string", "null"]}
_FLAG: Node = {"type": "boolean"}
_TEXTS: Node = {"type": "array", "items": _TEXT}
_ACR: Node = {"type": "string", "enum": ["urn:troth:acr:1", "urn:troth:acr:2"]}


def _object(required: Node, optional: Node | None = None) -> Node:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def _page(name: str) -> Node:
    return _object({"items": {"type": "array", "items": reference(name)}, "next": _MAYBE_TEXT})


def reference(name: str) -> Node:
    """To the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> Node:
    """Each under its name."""
    tenant = _object({"slug": _TEXT, "name": _TEXT})
    role_scopes = {**_TEXTS, "maxItems": MAX_SCOPES}
    lived = {
        "created_at": _INSTANT,
        "authenticated_at": _INSTANT,
        "seen_at": _INSTANT,
        "expires_at": _INSTANT,
    }
    kinds = {
        "Session": _object(
            {
                "person": _object({"id": _ID, "name": _TEXT, "email": _TEXT}),
                "tenant": tenant,
                "domain": _TEXT,
                "account": {"type": "string", "format": "uri"},
                "scopes": _TEXTS,
                "authenticated_at": _INSTANT,
                "expires_at": _INSTANT,
            }
        ),
        "SessionToken": _object(
            {
                "access_token": _TEXT,
                "token_type": {"const": "Bearer"},
                "expires_in": {"type": "integer", "minimum": 0},
                "scope": _TEXT,
            }
        ),
        "Me": _object(
            {
                "person": _object({"id": _ID}, {"name": _TEXT, "email": _TEXT, "roles": _TEXTS}),
                "tenant": tenant,
                "domain": _TEXT,
                "client": _TEXT,
                "scopes": _TEXTS,
                "session": _object(
                    {"acr": _ACR, "amr": _TEXTS, "authenticated_at": _INSTANT, "expires_at": _INSTANT}
                ),
            }
        ),
        "User": _object(
            {
                "id": _ID,
                "email": _TEXT,
                "name": _TEXT,
                "roles": _TEXTS,
                "disabled": _FLAG,
                "created_at": _INSTANT,
                "email_verified_at": _MAYBE_INSTANT,
                "has_password": _FLAG,
            }
        ),
        "UserPatch": _object(
            {},
            {
                "roles": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": 40},
                    "maxItems": 50,
                },
                "disabled": _FLAG,
            },
        ),
        "Role": _object(
            {
                "name": _TEXT,
                "of": {"enum": ["platform", "tenant"]},
                "scopes": _TEXTS,
                "people": {"type": "integer", "minimum": 0},
                "etag": _TEXT,
            }
        ),
        "RoleBody": _object({"scopes": role_scopes}),
        "RolePut": _object({"name": _TEXT, "scopes": role_scopes}),
        "AdminSession": _object(
            {
                "id": _ID,
                "person": _ID,
                "domain": _TEXT,
                "client": _MAYBE_TEXT,
                "scopes": _TEXTS,
                "acr": _ACR,
                **lived,
            }
        ),
        "Event": _object(
            {
                "id": _ID,
                "at": _INSTANT,
                "event": _TEXT,
                "principal": {"type": ["string", "null"], "format": "uuid"},
                "domain": _MAYBE_TEXT,
                "request_id": _MAYBE_TEXT,
                "detail": {"type": "object"},
            }
        ),
    }
    pages = {f"{name}Page": _page(name) for name in ("User", "Role", "AdminSession", "Event")}
    return kinds | pages
