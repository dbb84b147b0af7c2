"""Fixtures of the core's tests."""

from pathlib import Path

import pytest

from support.configuration import LOGO, SCHEMA, Load
from troth.core.config import Settings, load_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logo.svg").write_text(LOGO)
    (tmp_path / "ticket.json").write_text(SCHEMA)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    def load(text: str) -> Settings:
        file = folder / "troth.toml"
        file.write_text(text)
        return load_settings(file)

    return load
