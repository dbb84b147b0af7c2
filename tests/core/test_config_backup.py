"""Where backups may go and how often they come, as troth.toml says it."""

from pathlib import Path

import pytest

from support.configuration import MINIMAL, Load, all_faults, only_fault
from troth.core.config import Settings
from troth.core.errors import ConfigError
from troth.wiring.reading import check

ELSEWHERE = 'store = "s3://backups/a"\nregion = "eu-central-1"\n'


def with_backup(lines: str) -> str:
    return f"{MINIMAL}\n[backup]\n{lines}"


def test_without_the_table_there_are_no_backups(load: Load) -> None:
    assert load(MINIMAL).backup is None


def test_an_empty_table_is_a_folder_once_a_day_with_hourly_increments(load: Load) -> None:
    backup = load(with_backup("")).backup
    assert backup is not None
    assert (backup.store, backup.every_hours, backup.incremental_minutes) == ("", 24, 60)
    assert (backup.keep_daily, backup.keep_weekly, backup.keep_monthly) == (7, 4, 12)


def test_files_of_the_store_are_named_from_the_folder_of_the_file(load: Load, folder: Path) -> None:
    (folder / "store.credentials").write_text("x")
    backup = load(with_backup(ELSEWHERE + 'credentials = "store.credentials"')).backup
    assert backup is not None
    assert backup.credentials == folder / "store.credentials"


@pytest.mark.parametrize(
    "store",
    ["s3://backups", "s3://my.bucket/a/b", "sftp://u@host/backups", "sftp://u@[::1]:2222/b"],
)
def test_a_store_elsewhere_is_read_with_its_region(load: Load, store: str) -> None:
    backup = load(with_backup(f'store = "{store}"\nregion = "DE"')).backup
    assert backup is not None
    assert backup.store == store


@pytest.mark.parametrize(
    "store",
    [
        "backups",
        "http://backups",
        "s3://",
        "s3://Bucket",
        "s3://b/../c",
        "s3://bucket/a?b",
        "file://host/folder",
        "file:///a/../b",
        "sftp://host/folder",
        "sftp://u:secret@host/folder",
        "sftp://u@host",
    ],
)
def test_what_names_no_store_is_refused(load: Load, store: str) -> None:
    fault = only_fault(load, with_backup(f'store = "{store}"\nregion = "DE"'))
    assert fault.key == "backup.store"
    assert "s3://bucket/prefix" in fault.hint


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('store = "s3://backups"', "backup.region"),
        ('store = "sftp://u@h/b"', "backup.region"),
        (ELSEWHERE + 'endpoint = "http://s3.example"', "backup.endpoint"),
        (ELSEWHERE + 'ca = "nowhere.pem"', "backup.ca"),
        (ELSEWHERE + 'credentials = "nowhere"', "backup.credentials"),
        ("every_hours = 1\nincremental_minutes = 61", "backup.incremental_minutes"),
        ("every_hours = 0", "backup.every_hours"),
        ("keep_daily = 0", "backup.keep_daily"),
        ("bandwidth = -1", "backup.bandwidth"),
    ],
)
def test_what_cannot_work_is_told_with_its_key(load: Load, lines: str, key: str) -> None:
    assert [fault.key for fault in all_faults(load, with_backup(lines))] == [key]


def test_a_store_outside_the_union_stops_the_start_naming_the_promise(load: Load) -> None:
    settings: Settings = load(with_backup('store = "s3://backups"\nregion = "us-east-1"'))
    with pytest.raises(ConfigError) as refused:
        check(settings)
    assert (refused.value.promise, refused.value.key) == ("data.residency", "backup.region")
    assert refused.value.line is not None
