"""An external replica set: what stops a plan."""

import shutil
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from support.configuration import EXAMPLE
from troth.cli.verbs import app
from troth.core.clock import SystemClock
from troth.core.config import Settings, load_settings
from troth.core.errors import ConfigError, UsageError
from troth.core.settings import BackupSettings
from troth.data.enrolment import enrol_platform, take_in
from troth.data.hosts import Host, HostSet
from troth.data.places import declared_destinations, find_places
from troth.wiring.reading import check

SET = HostSet(
    hosts=tuple(Host(name=f"db-{n}", address=f"10.0.0.{n}", region="DE") for n in (1, 2, 3)),
    clients=("10.0.1.0/24",),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The example on three hosts elsewhere, with a platform's certificates."""
    folder = tmp_path / "database"
    take_in(enrol_platform(tmp_path / "authorities", SET, SystemClock().now()), folder)
    example = load_settings(EXAMPLE / "troth.toml")
    database = msgspec.structs.replace(
        example.database,
        hosts=("10.0.0.1:5432", "10.0.0.2:5432", "10.0.0.3:5432"),
        regions=("DE", "DE", "FI"),
        certificates=folder,
    )
    return msgspec.structs.replace(example, database=database, backup=None)


def certificates(settings: Settings) -> Path:
    assert settings.database.certificates is not None
    return settings.database.certificates


def refusal(settings: Settings) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        check(settings)
    return refused.value


def test_hosts_with_certificates_are_taken(settings: Settings) -> None:
    check(settings)


def test_a_missing_certificate_stops_the_plan(settings: Settings) -> None:
    (certificates(settings) / "troth_app.pem").unlink()
    fault = refusal(settings)
    assert (fault.key, "troth_app.pem" in fault.public) == ("database.certificates", True)
    assert "troth member import" in fault.hint


def test_a_key_that_others_may_read_stops_the_plan(settings: Settings) -> None:
    key = certificates(settings) / "troth_owner.key"
    key.chmod(0o640)
    fault = refusal(settings)
    assert "can be read by others" in fault.public
    assert f"chmod 600 {key}" in fault.hint


def test_backups_need_the_replicators_certificate_too(settings: Settings) -> None:
    with_backups = msgspec.structs.replace(settings, backup=BackupSettings())
    check(with_backups)
    (certificates(settings) / "replicator.key").unlink()
    check(settings)
    fault = refusal(with_backups)
    assert (fault.key, "replicator.key" in fault.public) == ("database.certificates", True)


def test_a_restore_that_nothing_would_use_is_refused(tmp_path: Path) -> None:
    text = (EXAMPLE / "troth.toml").read_text()
    hosts = 'hosts = ["10.0.0.1:5432"]\nregions = ["DE"]\ncertificates = "database"\n'
    shutil.copytree(EXAMPLE, tmp_path / "machine")
    file = tmp_path / "machine" / "troth.toml"
    file.write_text(text.replace("members = 3\n", hosts, 1))
    arguments = ["backup", "restore", "--config", str(file), "--state", str(tmp_path / "s"), "--to", "latest"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UsageError)
    assert "runs elsewhere" in done.exception.public
    assert not (tmp_path / "s" / "members").exists()


def test_each_host_is_a_place_for_data_and_may_be_connected_to(settings: Settings) -> None:
    members = [place for place in find_places(settings) if place.use == "members"]
    assert [place.place.country for place in members] == ["DE", "DE", "FI"]
    hosts = {one.host for one in declared_destinations(settings) if one.port == 5432}
    assert hosts == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


def test_a_host_outside_the_eu_stops_the_plan_and_names_the_promise(settings: Settings) -> None:
    database = msgspec.structs.replace(settings.database, regions=("DE", "US", "FI"))
    fault = refusal(msgspec.structs.replace(settings, database=database))
    assert (fault.key, fault.promise) == ("database.regions", "data.residency")
