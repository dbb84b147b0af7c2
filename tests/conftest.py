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
    """In several workers, what looks at the whole platform shares one, which begins at once because it takes
    the longest; all else stays together by file."""
    items.sort(key=lambda item: not _looks_at_all(item))
    for item in items:
        group = "platform" if _looks_at_all(item) else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))


def _looks_at_all(item: pytest.Item) -> bool:
    return "platform" in getattr(item, "fixturenames", ())
