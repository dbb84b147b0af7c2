"""What the API's description says of sessions, `/api/v1/me` and administration: plain data.

Wiring puts it beside what `data/openapi.py` makes from the collections, and refers by name to the parts that
are made there: problems, cursors, tags.
"""

from troth.access.openapi_customer import customer_paths
from troth.access.openapi_customer_schemas import customer_schemas
from troth.access.openapi_operations import (
    BODY,
    DONE,
    MAYBE_TAG,
    ONE,
    TAG,
    answered,
    listed,
    operation,
)
from troth.access.openapi_schemas import Node, schemas
from troth.access.roles import ROLE_NAME
from troth.core.names import SESSION_COOKIE
from troth.core.scope import admin_scopes

BASE = "/api/v1/admin"


def describe_access() -> Node:
    """Paths, schemas, scopes, tags and security schemes."""
    return {
        "paths": {**_session_paths(), **_me_path(), **_admin_paths(), **customer_paths()},
        "schemas": schemas() | customer_schemas(),
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


_NAME: tuple[Node, ...] = (
    {
        "name": "name",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{ROLE_NAME.pattern}$"},
        "example": "caretaker",
    },
)


def _session_paths() -> Node:
    def by_cookie(identifier: str, summary: str, name: str, *problems: str) -> Node:
        described = operation(identifier, summary, {"200": answered(name)}, problems=problems)
        return described | {"security": [{"session": []}]}

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
            "get": operation("me", "Whom this token speaks for, and what it may", {"200": answered("Me")})
        }
    }


def _admin_paths() -> Node:
    return {
        f"{BASE}/users": {
            "get": listed("admin_users", "People, the oldest first", "User", "admin.users:read"),
            "post": operation(
                "admin_invite",
                "Invite a person, who chooses a password by the link that is sent to them",
                {"201": answered("Made")},
                scope="admin.users:create",
                problems=("409", *BODY),
                body="UserBody",
            ),
        },
        f"{BASE}/users/{{id}}": {
            "parameters": list(ONE),
            "get": operation(
                "admin_user",
                "One person",
                {"200": answered("User", "ETag")},
                scope="admin.users:read",
                problems=("404",),
            ),
            "patch": operation(
                "admin_change_user",
                "Give other roles, disable or enable; needs admin.users:read too",
                {"200": answered("User", "ETag")},
                scope="admin.users:update",
                parameters=TAG,
                problems=("404", "412", "428", *BODY),
                body="UserPatch",
            ),
        },
        f"{BASE}/users/{{id}}/sign-out": {
            "parameters": list(ONE),
            "post": operation(
                "admin_sign_out",
                "End every session of a person",
                DONE,
                scope="admin.sessions:delete",
                problems=("404",),
            ),
        },
        f"{BASE}/users/{{id}}/reset-factors": {
            "parameters": list(ONE),
            "post": operation(
                "admin_reset_factors",
                "Take away the second factors of a person who lost them; ends every session",
                DONE,
                scope="admin.users:update",
                problems=("404", "422"),
            ),
        },
        f"{BASE}/users/{{id}}/reset-password": {
            "parameters": list(ONE),
            "post": operation(
                "admin_reset_password",
                "Send a person the link by which they choose a new password",
                {"202": {"description": "The message is on its way."}},
                scope="admin.users:update",
                problems=("404", "409", "429"),
            ),
        },
        f"{BASE}/roles": {
            "get": listed(
                "admin_roles", "The platform's and the tenant's", "Role", "admin.roles:read", paged=False
            )
        },
        f"{BASE}/roles/{{name}}": {
            "parameters": list(_NAME),
            "put": operation(
                "admin_put_role",
                "Make a role (admin.roles:create), or with If-Match change it",
                {"201": answered("RolePut"), "200": answered("RolePut")},
                scope="admin.roles:update",
                parameters=MAYBE_TAG,
                problems=("404", "409", "412", *BODY),
                body="RoleBody",
            ),
            "delete": operation(
                "admin_remove_role",
                "Take a role away, from its holders too",
                DONE,
                scope="admin.roles:delete",
                parameters=TAG,
                problems=("400", "404", "412", "428"),
            ),
        },
        f"{BASE}/sessions": {
            "get": listed(
                "admin_sessions", "What lives, the newest first", "AdminSession", "admin.sessions:read"
            )
        },
        f"{BASE}/sessions/{{id}}": {
            "parameters": list(ONE),
            "delete": operation(
                "admin_end_session",
                "End a session and what was granted under it",
                DONE,
                scope="admin.sessions:delete",
                problems=("404",),
            ),
        },
        f"{BASE}/events": {
            "get": listed("admin_events", "The trail, the newest first", "Event", "admin.audit:read")
        },
    }
