"""`troth member`: a host is enrolled where the authorities are, and taken in where it stands."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from troth.cli.verbs import app
from troth.core.errors import PlatformError
from troth.core.state import State
from troth.data.enrolment import read_membership

HOSTS = """
clients = ["10.0.1.0/24"]
hosts = [
    { name = "db-1", address = "10.0.0.1", region = "DE" },
    { name = "db-2", address = "10.0.0.2", region = "DE" },
    { name = "db-3", address = "10.0.0.3", region = "FI" },
]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hosts.toml").write_text(HOSTS)
    return tmp_path


def troth(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["member", *map(str, arguments)])


def enrol(folder: Path, name: str) -> Path:
    out = folder / f"{name}.bundle"
    hosts, state = folder / "hosts.toml", folder / "authority"
    done = troth("enrol", name, "--hosts", hosts, "--state", state, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_a_host_is_enrolled_and_taken_in(folder: Path) -> None:
    done = troth("import", enrol(folder, "db-2"), "--state", folder / "host")
    assert done.exit_code == 0, done.output
    assert read_membership(State(folder / "host").membership).own.address == "10.0.0.2"
    assert not list((folder / "host").glob("**/ca.key"))


def test_a_platforms_bundle_says_what_to_write_into_its_configuration(folder: Path) -> None:
    done = troth("import", enrol(folder, "platform"), "--into", folder / "database")
    assert done.exit_code == 0, done.output
    assert 'hosts = ["10.0.0.1:5432", "10.0.0.2:5432", "10.0.0.3:5432"]' in done.output
    assert 'regions = ["DE", "DE", "FI"]' in done.output


def test_a_platforms_bundle_makes_no_member_and_a_hosts_no_platform(folder: Path) -> None:
    assert troth("import", enrol(folder, "platform"), "--state", folder / "host").exit_code == 2
    assert troth("import", enrol(folder, "db-1"), "--into", folder / "database").exit_code == 2
    assert not (folder / "database").exists()


def test_a_host_that_is_not_enrolled_starts_nothing(folder: Path) -> None:
    done = troth("up", "--state", folder / "host")
    assert isinstance(done.exception, PlatformError)
    assert not (folder / "host" / "run").exists()
