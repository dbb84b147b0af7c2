"""Bundles: what is in them, who may read them, and what a folder takes in."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from troth.core.ca import read_certificate
from troth.core.clock import SystemClock
from troth.core.errors import ConfigError, PlatformError
from troth.data.enrolment import (
    Bundle,
    ends,
    enrol_host,
    enrol_platform,
    leaf_files,
    read_bundle,
    read_membership,
    take_in,
    write_bundle,
)
from troth.data.hosts import Host, HostSet

SET = HostSet(
    hosts=tuple(Host(name=f"db-{n}", address=f"10.0.0.{n}", region="DE") for n in (1, 2, 3)),
    clients=("10.0.1.0/24",),
)
NOW = SystemClock().now()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return enrol_host(tmp_path / "authorities", SET, "db-1", NOW)


def test_a_host_is_given_what_it_needs_and_nothing_of_anybody_else(bundle: Bundle, tmp_path: Path) -> None:
    assert sorted(bundle.leaves) == ["etcd", "patroni", "postgres", "replicator", "server"]
    text = msgspec.json.encode(bundle).decode()
    for key in (tmp_path / "authorities").glob("*/ca.key"):
        assert key.read_text().splitlines()[1] not in text
    assert "troth_owner" not in bundle.leaves


def test_a_platform_can_neither_command_a_member_nor_be_the_superuser(tmp_path: Path) -> None:
    bundle = enrol_platform(tmp_path / "authorities", SET, NOW)
    assert sorted(bundle.leaves) == ["replicator", "troth_app", "troth_auditor", "troth_owner"]
    issuers = {read_certificate(leaf.certificate.encode()).issuer for leaf in bundle.leaves.values()}
    assert len(issuers) == 1
    assert "database_clients" in issuers.pop()
    assert list(bundle.authorities) == ["database"]


def test_certificates_name_the_address_that_others_reach_the_host_at(bundle: Bundle) -> None:
    for use in ("server", "etcd"):
        facts = read_certificate(bundle.leaves[use].certificate.encode())
        assert "10.0.0.1" in facts.addresses
        assert facts.not_after - NOW <= timedelta(days=90)


def test_a_bundle_does_not_show_its_keys_and_is_its_owners_alone(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "db-1.bundle"
    write_bundle(bundle, file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(bundle)
    file.chmod(0o644)
    with pytest.raises(PlatformError, match="can be read by other users"):
        read_bundle(file)


def test_a_bundle_is_taken_in_whole_and_renewed_in_place(bundle: Bundle, tmp_path: Path) -> None:
    file, folder = tmp_path / "db-1.bundle", tmp_path / "membership"
    write_bundle(bundle, file)
    take_in(read_bundle(file), folder)
    assert read_membership(folder).own == SET.hosts[0]
    before = leaf_files(folder, "server").certificate.read_bytes()
    take_in(enrol_host(tmp_path / "authorities", SET, "db-1", NOW + timedelta(days=30)), folder)
    assert leaf_files(folder, "server").certificate.read_bytes() != before
    assert {key.stat().st_mode & 0o777 for key in folder.glob("*.key")} == {0o600}
    assert min(ends(folder).values()) > NOW + timedelta(days=119)


def test_another_hosts_bundle_and_other_hosts_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder, authorities = tmp_path / "membership", tmp_path / "authorities"
    take_in(bundle, folder)
    with pytest.raises(ConfigError, match="is that of db-1"):
        take_in(enrol_host(authorities, SET, "db-2", NOW), folder)
    moved = (SET.hosts[0], SET.hosts[1], msgspec.structs.replace(SET.hosts[2], address="10.0.0.9"))
    with pytest.raises(ConfigError, match="other hosts"):
        take_in(enrol_host(authorities, msgspec.structs.replace(SET, hosts=moved), "db-1", NOW), folder)


@pytest.mark.parametrize("name", ["../out", "a/b", "", "a.b"])
def test_a_bundle_writes_nowhere_else(bundle: Bundle, tmp_path: Path, name: str) -> None:
    forged = msgspec.structs.replace(bundle, leaves={name: bundle.leaves["server"]})
    with pytest.raises(ConfigError, match="must not"):
        take_in(forged, tmp_path / "membership")
    assert not (tmp_path / "out.pem").exists()


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 1000, b'{"version": 1}', b"\xff"])
def test_what_is_no_bundle_is_told_so(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "bundle"
    file.write_bytes(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is no bundle"):
        read_bundle(file)


def test_a_bundle_of_another_version_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "bundle"
    write_bundle(msgspec.structs.replace(bundle, version=2), file)
    with pytest.raises(ConfigError, match="version 2"):
        read_bundle(file)


def test_a_host_that_is_not_enrolled_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PlatformError) as caught:
        read_membership(tmp_path)
    assert "troth member import" in caught.value.hint
