"""How a tenant's clients, domains and settings are described."""

from troth.access.openapi_operations import BODY, DONE, TAG, answered, listed, operation
from troth.access.openapi_schemas import Node

BASE = "/api/v1/admin"


def _name(name: str, most: int, example: str) -> Node:
    schema = {"type": "string", "minLength": 1, "maxLength": most}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


_CLIENT = [_name("client", 100, "ledger")]
_DOMAIN = [_name("domain", 253, "portal.company.example")]


def customer_paths() -> Node:
    """Each under its address."""
    return {**_client_paths(), **_domain_paths(), **_settings_path()}


def _client_paths() -> Node:
    return {
        f"{BASE}/clients": {
            "get": listed("admin_clients", "Clients, by their ids", "Client", "admin.clients:read"),
            "post": operation(
                "admin_add_client",
                "Register a client; its secret is told this once",
                {"201": answered("ClientMade")},
                scope="admin.clients:create",
                problems=("409", *BODY),
                body="ClientBody",
            ),
        },
        f"{BASE}/clients/{{client}}": {
            "parameters": _CLIENT,
            "get": operation(
                "admin_client",
                "One client",
                {"200": answered("Client", "ETag")},
                scope="admin.clients:read",
                problems=("404",),
            ),
            "patch": operation(
                "admin_change_client",
                "Change or disable it; its grants end when it may less; needs admin.clients:read too",
                {"200": answered("Client", "ETag")},
                scope="admin.clients:update",
                parameters=TAG,
                problems=("404", "409", "412", "428", *BODY),
                body="ClientPatch",
            ),
            "delete": operation(
                "admin_remove_client",
                "Remove it, and everything that it was granted",
                DONE,
                scope="admin.clients:delete",
                problems=("404", "409"),
            ),
        },
        f"{BASE}/clients/{{client}}/secret": {
            "parameters": _CLIENT,
            "post": operation(
                "admin_rotate_secret",
                "A new secret, told this once; the one before stays good for a while",
                {"201": answered("ClientMade")},
                scope="admin.clients:update",
                problems=("404", "409", *BODY),
                body="SecretBody",
            ),
        },
        f"{BASE}/client-invitations": {
            "post": operation(
                "admin_invite_client",
                "An initial access token (RFC 7591), told this once",
                {"201": answered("ClientInvitation")},
                scope="admin.clients:create",
                problems=("409", *BODY),
                body="ClientInvitationBody",
            )
        },
    }


def _domain_paths() -> Node:
    return {
        f"{BASE}/domains": {
            "get": listed("admin_domains", "Domains, by their names", "Domain", "admin.domains:read"),
            "post": operation(
                "admin_add_domain",
                "Ask for a domain; it serves once the record is published and checked",
                {"201": answered("DomainAdded")},
                scope="admin.domains:create",
                problems=("409", *BODY),
                body="DomainBody",
            ),
        },
        f"{BASE}/domains/{{domain}}": {
            "parameters": _DOMAIN,
            "get": operation(
                "admin_domain",
                "One domain",
                {"200": answered("Domain")},
                scope="admin.domains:read",
                problems=("404",),
            ),
            "delete": operation(
                "admin_remove_domain",
                "Take it out of service; all sessions on it are over",
                DONE,
                scope="admin.domains:delete",
                problems=("404", "409"),
            ),
        },
        f"{BASE}/domains/{{domain}}/check": {
            "parameters": _DOMAIN,
            "post": operation(
                "admin_check_domain",
                "Ask the name servers for the record; 204: it stands there, and the domain serves",
                DONE,
                scope="admin.domains:update",
                problems=("404", "409"),
            ),
        },
    }


def _settings_path() -> Node:
    return {
        f"{BASE}/settings": {
            "get": operation(
                "admin_settings",
                "The tenant's policy, and the branding of this domain",
                {"200": answered("Settings", "ETag")},
                scope="admin.settings:read",
            ),
            "put": operation(
                "admin_put_settings",
                "Replace them; what a policy leaves out is its default",
                DONE,
                scope="admin.settings:update",
                parameters=TAG,
                problems=("412", "428", *BODY),
                body="SettingsBody",
            ),
        }
    }
