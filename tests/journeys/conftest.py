"""Fixtures of the journeys: one browser for all of them. The platform they share with tests/docs."""

import pytest

from support.chromium import chromium, playwright
from support.platform import superuser

__all__ = ["chromium", "playwright", "superuser"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a journey, and may wait for the platform to start."""
    for item in items:
        if "journeys" in item.path.parts:
            item.add_marker(pytest.mark.journey)
