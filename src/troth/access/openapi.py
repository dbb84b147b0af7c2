"""What the API's description says of sessions, `/api/v1/me` and administration: plain data.

Wiring puts it beside what `data/openapi.py` makes from the collections, and refers by name to the parts that
are made there: problems, cursors, tags.
"""

from troth.access.openapi_schemas import Node, reference, schemas
from troth.access.roles import ROLE_NAME
from troth.core.names import SESSION_COOKIE
from troth.core.scope import admin_scopes

BASE = "/api/v1/admin"


def describe_access() -> Node:
    """Paths, schemas, scopes, tags and security schemes."""
    return {
        "paths": {**_session_paths(), **_me_path(), **_admin_paths()},
        "schemas": schemas(),
        "scopes": {scope: _words(scope) for scope in admin_scopes()},
        "tags": [
            {"name": "session", "description": "Who is signed in, and the token of the domain's own pages"},
            {"name": "administration", "description": "A tenant run by its own people. " + _STEP_UP},
        ],
        "security_schemes": {
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": SESSION_COOKIE,
                "description": "The browser's session; a token is given only to a script of the same origin.",
            }
        },
    }


_STEP_UP = (
    "Each call needs a scope of its own, which its person holds at that moment, and a sign-in of the last ten"
    " minutes: else 401 `insufficient_user_authentication` with `max_age`, and `acr_values` where the tenant"
    " requires a second factor (RFC 9470)."
)


def _words(scope: str) -> str:
    area, _, action = scope.removeprefix("admin.").partition(":")
    return f"{action} {area} of the tenant"


def _operation(
    identifier: str,
    summary: str,
    answers: Node,
    *,
    scope: str = "",
    problems: tuple[str, ...] = (),
    parameters: tuple[Node, ...] = (),
    body: str = "",
) -> Node:
    operation: Node = {
        "operationId": identifier,
        "summary": summary,
        "tags": ["administration" if scope else "session"],
        "security": [{"oauth2": [scope] if scope else []}],
        "parameters": list(parameters),
        "responses": answers
        | {
            status: {"$ref": f"#/components/responses/Problem{status}"}
            for status in dict.fromkeys(("401", *(("403",) if scope else ()), *problems, "503"))
        },
    }
    if body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": reference(body)}},
        }
    return operation


def _answer(name: str, *headers: str) -> Node:
    return {
        "description": "As asked.",
        "headers": {header: {"$ref": f"#/components/headers/{header}"} for header in headers},
        "content": {"application/json": {"schema": reference(name)}},
    }


_DONE: Node = {"204": {"description": "Done."}}
_PAGING: tuple[Node, ...] = (
    {"$ref": "#/components/parameters/After"},
    {"$ref": "#/components/parameters/Limit"},
)
_ONE: tuple[Node, ...] = ({"$ref": "#/components/parameters/Id"},)
_TAG: tuple[Node, ...] = ({"$ref": "#/components/parameters/IfMatch"},)
_MAYBE_TAG: tuple[Node, ...] = ({"$ref": "#/components/parameters/IfMatchOptional"},)
_NAME: tuple[Node, ...] = (
    {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{ROLE_NAME.pattern}$"},
        "example": "caretaker",
    },
)
_BODY = ("400", "413", "415", "422")


def _session_paths() -> Node:
    def by_cookie(identifier: str, summary: str, name: str, *problems: str) -> Node:
        operation = _operation(identifier, summary, {"200": _answer(name)}, problems=problems)
        return operation | {"security": [{"session": []}]}

    token = by_cookie(
        "session_token", "An access token for the domain's own page", "SessionToken", "400", "403"
    )
    token["parameters"] = [
        {
            "name": "scope",
            "in": "query",
            "description": "Left out: all that the person may, save scopes of administration.",
            "schema": {"type": "string", "maxLength": 4000},
            "example": "tickets:read:own",
        }
    ]
    return {
        "/session": {"get": by_cookie("session", "Who is signed in in this browser", "Session")},
        "/session/token": {"get": token},
    }


def _me_path() -> Node:
    return {
        "/api/v1/me": {
            "get": _operation("me", "Whom this token speaks for, and what it may", {"200": _answer("Me")})
        }
    }


def _list(identifier: str, summary: str, name: str, scope: str, *, paged: bool = True) -> Node:
    return _operation(
        identifier,
        summary,
        {"200": _answer(f"{name}Page")},
        scope=scope,
        parameters=_PAGING if paged else (),
        problems=("400",) if paged else (),
    )


def _admin_paths() -> Node:
    return {
        f"{BASE}/users": {
            "get": _list("admin_users", "People, the oldest first", "User", "admin.users:read")
        },
        f"{BASE}/users/{{id}}": {
            "parameters": list(_ONE),
            "get": _operation(
                "admin_user",
                "One person",
                {"200": _answer("User", "ETag")},
                scope="admin.users:read",
                problems=("404",),
            ),
            "patch": _operation(
                "admin_change_user",
                "Give other roles, disable or enable; needs admin.users:read too",
                {"200": _answer("User", "ETag")},
                scope="admin.users:update",
                parameters=_TAG,
                problems=("404", "412", "428", *_BODY),
                body="UserPatch",
            ),
        },
        f"{BASE}/users/{{id}}/sign-out": {
            "parameters": list(_ONE),
            "post": _operation(
                "admin_sign_out",
                "End every session of a person",
                _DONE,
                scope="admin.sessions:delete",
                problems=("404",),
            ),
        },
        f"{BASE}/users/{{id}}/reset-factors": {
            "parameters": list(_ONE),
            "post": _operation(
                "admin_reset_factors",
                "Take away the second factors of a person who lost them; ends every session",
                _DONE,
                scope="admin.users:update",
                problems=("404", "422"),
            ),
        },
        f"{BASE}/roles": {
            "get": _list(
                "admin_roles", "The platform's and the tenant's", "Role", "admin.roles:read", paged=False
            )
        },
        f"{BASE}/roles/{{name}}": {
            "parameters": list(_NAME),
            "put": _operation(
                "admin_put_role",
                "Make a role (admin.roles:create), or with If-Match change it",
                {"201": _answer("RolePut"), "200": _answer("RolePut")},
                scope="admin.roles:update",
                parameters=_MAYBE_TAG,
                problems=("404", "409", "412", *_BODY),
                body="RoleBody",
            ),
            "delete": _operation(
                "admin_remove_role",
                "Take a role away, from its holders too",
                _DONE,
                scope="admin.roles:delete",
                parameters=_TAG,
                problems=("400", "404", "412", "428"),
            ),
        },
        f"{BASE}/sessions": {
            "get": _list(
                "admin_sessions", "What lives, the newest first", "AdminSession", "admin.sessions:read"
            )
        },
        f"{BASE}/sessions/{{id}}": {
            "parameters": list(_ONE),
            "delete": _operation(
                "admin_end_session",
                "End a session and what was granted under it",
                _DONE,
                scope="admin.sessions:delete",
                problems=("404",),
            ),
        },
        f"{BASE}/events": {
            "get": _list("admin_events", "The trail, the newest first", "Event", "admin.audit:read")
        },
    }
