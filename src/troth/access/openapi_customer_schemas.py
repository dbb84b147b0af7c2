"""The schemas of what a tenant's clients, domains and settings are told and changed with."""

from troth.access.openapi_schemas import FLAG, INSTANT, MAYBE_INSTANT, TEXT, TEXTS, Node, object_of

_NAME: Node = {"type": "string", "minLength": 1, "maxLength": 120}
_URIS: Node = {"type": "array", "items": {"type": "string", "maxLength": 2000}, "maxItems": 20}
_SCOPES: Node = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 3000},
    "minItems": 1,
    "maxItems": 100,
}


def _number(least: int, most: int) -> Node:
    return {"type": "integer", "minimum": least, "maximum": most}


def customer_schemas() -> Node:
    """Each under its name."""
    return {**_clients(), **_domains(), **_settings()}


def _clients() -> Node:
    identifier = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$"}
    return {
        "Client": object_of(
            {
                "id": TEXT,
                "name": TEXT,
                "origin": {"enum": ["declared", "operator", "dynamic"]},
                "disabled": FLAG,
                "redirect_uris": TEXTS,
                "scopes": TEXTS,
                "metadata": {"type": "object", "description": "Further members of RFC 7591."},
                "secrets": {
                    "type": "array",
                    "items": MAYBE_INSTANT,
                    "description": "When each ends; null: never.",
                },
                "grants": {"type": "integer", "minimum": 0},
                "created_at": INSTANT,
            }
        ),
        "ClientBody": object_of(
            {"name": _NAME, "scopes": _SCOPES},
            {"redirect_uris": _URIS, "id": identifier, "metadata": {"type": "object"}},
        ),
        "ClientPatch": object_of(
            {}, {"name": _NAME, "scopes": _SCOPES, "redirect_uris": _URIS, "disabled": FLAG}
        ),
        "ClientMade": object_of({"id": TEXT}, {"client_secret": TEXT}),
        "SecretBody": object_of({}, {"overlap": _number(0, 90 * 86_400)}),
        "ClientInvitationBody": object_of(
            {"scopes": _SCOPES}, {"uses": _number(1, 1000), "life": _number(60, 30 * 86_400)}
        ),
        "ClientInvitation": object_of(
            {"initial_access_token": TEXT, "expires_in": {"type": "integer"}, "uses": {"type": "integer"}}
        ),
    }


def _domains() -> Node:
    record = object_of({"name": TEXT, "type": {"const": "TXT"}, "value": TEXT})
    return {
        "Domain": object_of(
            {
                "name": TEXT,
                "app": TEXT,
                "state": {"enum": ["active", "pending"]},
                "of": {"enum": ["operator", "tenant"]},
                "brand": TEXT,
                "record": {"oneOf": [record, {"type": "null"}]},
                "created_at": INSTANT,
                "proved_at": MAYBE_INSTANT,
            }
        ),
        "DomainBody": object_of({"name": {"type": "string", "minLength": 1, "maxLength": 253}}),
        "DomainAdded": object_of({"name": TEXT, "state": {"const": "pending"}, "record": record}),
    }


def _settings() -> Node:
    logo = object_of(
        {
            "type": {"enum": ["image/svg+xml", "image/png"]},
            "data": {"type": "string", "contentEncoding": "base64"},
        }
    )
    branding = object_of(
        {},
        {
            "name": {"type": "string", "maxLength": 120},
            "colour": {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"},
            "logo": {"oneOf": [logo, {"type": "null"}]},
        },
    )
    policy = object_of({}, _policy())
    return {
        "Settings": object_of({"policy": policy, "branding": branding, "declared": FLAG}),
        "SettingsBody": object_of({"policy": policy, "branding": branding}),
    }


def _policy() -> Node:
    return {
        "session_idle_minutes": _number(1, 60 * 24 * 7),
        "session_absolute_hours": _number(1, 24 * 30),
        "sessions_most": _number(1, 1000),
        "step_up_minutes": _number(1, 60),
        "second_factor": {"enum": ["off", "optional", "required"]},
        "registration": {"enum": ["closed", "invitation", "open"]},
        "email_domains": {**TEXTS, "maxItems": 50},
        "joining_roles": {**TEXTS, "maxItems": 50},
        "language": {"enum": ["", "en", "de"]},
        "mail_name": {"type": "string", "maxLength": 120},
    }
