"""The whole description: collections, sessions, administration."""

from openapi_spec_validator import OpenAPIV31SpecValidator

from support.documents import collections
from troth.access.openapi import describe_access
from troth.core.scope import admin_scopes
from troth.data.openapi import describe_api


def test_the_whole_description_is_valid_and_names_every_scope() -> None:
    whole = describe_api(collections(), title="Residents", version="0.1.0", beside=describe_access())
    assert [error.message for error in OpenAPIV31SpecValidator(whole).iter_errors()] == []
    scopes = whole["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]["scopes"]
    assert {"tickets:read", *admin_scopes()} <= set(scopes)
    assert "/api/v1/admin/users/{id}" in whole["paths"]
