"""Fixtures that every room's tests may use."""

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
