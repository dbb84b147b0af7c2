"""The recovery key: made once, never replaced in silence, and copied on purpose."""

import os
import pty
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from troth.cli.keys import keys
from troth.core.errors import PlatformError, UsageError
from troth.core.recovery_text import write_groups
from troth.core.secret import Secret, write_secret
from troth.core.state import State
from troth.data.recovery import (
    backup_key,
    copied_at,
    export_recovery_key,
    fingerprint,
    kept_keys_key,
    make_recovery_key,
    note_copied,
    read_recovery_key,
)

KEY = Secret(bytes(range(32)))


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path)
    state.keys.mkdir()
    make_recovery_key(state.recovery_key)
    return state


def test_it_is_made_once_and_for_its_owner_alone(state: State) -> None:
    first = read_recovery_key(state.recovery_key)
    make_recovery_key(state.recovery_key)
    assert read_recovery_key(state.recovery_key) == first
    assert stat.S_IMODE(state.recovery_key.stat().st_mode) == 0o600


def test_a_lost_one_is_not_replaced_in_silence(state: State) -> None:
    state.recovery_key.unlink()
    with pytest.raises(PlatformError, match="is missing; backups were sealed under it"):
        make_recovery_key(state.recovery_key)
    assert not state.recovery_key.exists()


def test_the_written_copy_in_its_place_is_as_good(state: State) -> None:
    key = read_recovery_key(state.recovery_key)
    state.recovery_key.unlink()
    write_secret(state.recovery_key, f"{write_groups(key)}\n".encode())
    make_recovery_key(state.recovery_key)
    assert read_recovery_key(state.recovery_key) == key


def test_a_file_that_holds_no_key_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "recovery.key"
    for content, error in ((b"x" * 5000, PlatformError), (b"\xff" * 31, UsageError), (b"", UsageError)):
        write_secret(path, content)
        with pytest.raises(error):
            read_recovery_key(path)
    path.chmod(0o644)
    with pytest.raises(PlatformError, match="other users"):
        read_recovery_key(path)


def test_what_is_derived_differs_by_purpose_and_by_key() -> None:
    derived = {backup_key(KEY).reveal(), kept_keys_key(KEY).reveal(), KEY.reveal()}
    assert len(derived) == 3
    assert backup_key(Secret(b"k" * 32)).reveal() not in derived
    assert fingerprint(KEY) != fingerprint(Secret(b"k" * 32))
    assert bytes.fromhex(fingerprint(KEY)) not in b"".join(derived)


def test_an_export_is_for_its_owner_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "copy"
    export_recovery_key(KEY, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_recovery_key(path) == KEY
    with pytest.raises(PlatformError, match="there already"):
        export_recovery_key(Secret(b"k" * 32), path)
    with pytest.raises(PlatformError, match="cannot be written"):
        export_recovery_key(KEY, tmp_path / "nowhere" / "copy")


def test_that_a_copy_was_taken_is_remembered(state: State) -> None:
    assert copied_at(state.recovery_key) is None
    note_copied(state.recovery_key, datetime(2026, 11, 25, 12, tzinfo=UTC))
    assert copied_at(state.recovery_key) == datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_the_verb_exports_and_checks_but_shows_nothing_off_a_terminal(state: State) -> None:
    words = ["recovery", "--state", str(state.root)]
    shown = CliRunner().invoke(keys, words)
    assert isinstance(shown.exception, UsageError)
    assert "terminal only" in shown.exception.public
    assert copied_at(state.recovery_key) is None
    copy = state.root / "copy.txt"
    exported = CliRunner().invoke(keys, [*words, "--export", str(copy)])
    assert exported.exit_code == 0
    groups = copy.read_text().split()
    assert not any(group in exported.output for group in "-".join(groups).split("-") if group)
    assert copied_at(state.recovery_key)
    assert CliRunner().invoke(keys, [*words, "--check"], input=" ".join(groups)).exit_code == 0
    other = write_groups(KEY).replace("\n", " ")
    wrong = CliRunner().invoke(keys, [*words, "--check"], input=other)
    assert isinstance(wrong.exception, UsageError)
    assert "not the one of this platform" in wrong.exception.public


@pytest.mark.parametrize(("answer", "seen"), [(b"y\n", True), (b"n\n", False)])
def test_on_a_terminal_it_is_shown_after_a_yes_alone(state: State, answer: bytes, seen: bool) -> None:
    ours, theirs = pty.openpty()
    argv = (
        sys.executable,
        "-c",
        "from troth.cli import main; main()",
        "keys",
        "recovery",
        "--state",
        str(state.root),
    )
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, answer)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the terminal has closed
            pass
        finally:
            os.close(ours)
        process.wait(timeout=30)
    groups = write_groups(read_recovery_key(state.recovery_key)).split("-")
    assert (groups[2].encode() in shown) == seen
    assert bool(copied_at(state.recovery_key)) == seen
