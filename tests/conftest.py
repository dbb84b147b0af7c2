"""Fixtures that every room's tests may use."""

import pytest

from support.platform import platform
from support.postgres import (
    auditor_database,
    database,
    owner_database,
    postgres,
    postgres_server,
    superuser_database,
    tenant,
)

__all__ = [
    "auditor_database",
    "database",
    "owner_database",
    "platform",
    "postgres",
    "postgres_server",
    "superuser_database",
    "tenant",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In several workers, what looks at the whole platform shares one; all else stays together by file."""
    for item in items:
        looks_at_all = "platform" in getattr(item, "fixturenames", ())
        group = "platform" if looks_at_all else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
