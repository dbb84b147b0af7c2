"""Fixtures that every room's tests may use."""

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
    "postgres",
    "postgres_server",
    "superuser_database",
    "tenant",
]
