"""The tools that make a checkout ready: what they do before and after apt and pip do their part."""

import os
from pathlib import Path

import pytest

import apt
import debian
import environment


def make_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_bootstrap_takes_version_and_hashes_from_the_lock() -> None:
    for name in environment.BOOTSTRAP:
        first, *hashes = environment.locked(name).splitlines()
        assert first.startswith(f"{name}==")
        assert hashes
        assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


def test_a_program_on_the_path_is_linked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = make_program(tmp_path / "system" / "etcd", "echo etcd 9")
    monkeypatch.setenv("PATH", f"{theirs.parent}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    debian.provide("etcd", tmp_path, ignore_system=False)
    assert (tmp_path / "bin" / "etcd").readlink() == theirs


def test_a_program_that_does_not_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = make_program(tmp_path / "system" / "etcd", "exit 127")
    monkeypatch.setenv("PATH", str(theirs.parent))
    (tmp_path / "bin").mkdir()
    with pytest.raises(apt.AptFailed, match="does not start"):
        debian.provide("etcd", tmp_path, ignore_system=False)


def test_an_unpacked_program_starts_from_wherever_the_folder_is_moved(tmp_path: Path) -> None:
    tree = tmp_path / "before" / "debian" / "etcd"
    make_program(tree / "usr" / "bin" / "etcd", 'echo "$LD_LIBRARY_PATH"')
    (tree / "usr" / "lib" / "x86_64-linux-gnu" / "pulseaudio").mkdir(parents=True)
    (tmp_path / "before" / "bin").mkdir()
    debian.write_wrapper("etcd", tmp_path / "before" / "bin" / "etcd", tree)
    moved = (tmp_path / "before").rename(tmp_path / "after")
    said = apt.run(str(moved / "bin" / "etcd")).strip().split(":")
    assert said == [
        f"{moved}/debian/etcd/usr/lib/x86_64-linux-gnu",
        f"{moved}/debian/etcd/usr/lib/x86_64-linux-gnu/pulseaudio",
    ]


APT_GET = """
case "$*" in
*lists=*update*) touch "{folder}/updated" ;;
*--simulate*)
    test -e "{folder}/updated" || {{ echo "E: Unable to locate package etcd-server"; exit 100; }}
    echo "Inst libc6 (2.36-9 Debian:12 [amd64])"
    echo "Inst etcd-server (3.4-1 Debian:12 [amd64])" ;;
*download*) echo "$*" > "{folder}/asked" ;;
esac
"""


def test_lists_that_the_system_lacks_are_fetched_privately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_program(tmp_path / "system" / "apt-get", APT_GET.format(folder=tmp_path))
    make_program(tmp_path / "system" / "dpkg-deb", "exit 0")
    make_program(tmp_path / "system" / "dpkg-query", "echo libc6 required installed")
    monkeypatch.setenv("PATH", f"{tmp_path / 'system'}{os.pathsep}{os.environ['PATH']}")
    apt.Apt(tmp_path / "apt").unpack(["etcd-server"], tmp_path / "tree")
    asked = (tmp_path / "asked").read_text()
    assert asked.strip().endswith("download etcd-server=3.4-1"), "the C library is never doubled"
    assert (tmp_path / "tree").is_dir()
