"""Fixtures that every room's tests may use."""

import os
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

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


_UMASK = os.umask(0o022)
os.umask(_UMASK)

PLATFORM = "platform"
"""The work of the one worker that looks at the whole platform."""


class ByPlatform(LoadFileScheduling):
    """In several workers, what looks at the whole platform shares one; all else stays together by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return PLATFORM if _looks_at_all(str(self.config.rootpath / file)) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByPlatform:
    return ByPlatform(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the whole platform takes the longest, so it begins first."""
    items.sort(key=lambda item: not _looks_at_all(str(item.path)))


def pytest_collection_finish() -> None:
    """Patroni sets the umask of whoever imports it."""
    os.umask(_UMASK)


@cache
def _looks_at_all(file: str) -> bool:
    return "platform: Troth" in Path(file).read_text()
