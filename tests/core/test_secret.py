"""Secrets stay out of sight, and their files belong to one user."""

import copy
import errno
import os
import pickle
from pathlib import Path

import pytest

from troth.core.errors import PlatformError
from troth.core.secret import Secret, equal, new_token, read_secret, write_public, write_secret


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(b"hunter2")
    shown = f"{secret} {secret!r} {[secret]}"
    assert "hunter2" not in shown
    assert secret.reveal() == b"hunter2"
    assert not hasattr(secret, "__dict__")


def test_a_secret_is_not_pickled_copied_or_hashed() -> None:
    secret = Secret(b"hunter2")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(secret)
    with pytest.raises(TypeError, match="dictionary key"):
        hash(secret)


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    assert equal(b"abc", b"abc")
    assert not equal(b"abc", b"abcd")


def test_tokens_are_256_random_bits_that_fit_into_a_cookie() -> None:
    tokens = {new_token() for _ in range(1_000)}
    assert len(tokens) == 1_000
    assert all(len(token) == 43 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


def test_a_secret_file_is_its_owners_alone_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "root.key"
    write_secret(file, b"one")
    assert file.stat().st_mode & 0o777 == 0o600
    write_secret(file, b"two")
    assert read_secret(file).reveal() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]


def test_a_file_that_was_open_to_others_is_closed_when_it_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "root.key"
    file.write_bytes(b"old")
    file.chmod(0o666)
    write_secret(file, b"new")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "root.key"
    write_secret(file, b"old")

    def no_space(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    for write in (write_secret, write_public):
        with pytest.raises(OSError, match="No space"):
            write(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "root.key"
    write_secret(file, b"one")
    file.chmod(mode)
    with pytest.raises(PlatformError, match="other users") as refused:
        read_secret(file)
    assert refused.value.hint == f"Run: chmod 600 {file}"


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"root\.key is missing"):
        read_secret(tmp_path / "root.key")
