"""The state folder, on disks that are full, read-only or somebody else's: real ones, in a mount namespace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from troth.core import state as state_module
from troth.core.errors import ConfigError, PlatformError
from troth.core.state import LAYOUT_VERSION, open_state

OPEN = """
import sys
from pathlib import Path
from troth.core.errors import TrothError
from troth.core.state import open_state
try:
    open_state(Path(sys.argv[1]))
except TrothError as error:
    print(type(error).__name__, error.public, error.hint, sep="|")
else:
    print("opened")
"""


def open_in_namespace(prepare: str, folder: Path) -> str:
    """Run `prepare` and then `open_state(folder)` with mounts of their own, which end with the process.

    A user namespace lends the rights to mount, so that this runs the same for root and for anybody else.
    """
    script = f'set -e; cd /; {prepare}; exec "$PYTHON" -c "$OPEN" "$FOLDER"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        env={**os.environ, "PYTHON": sys.executable, "OPEN": OPEN, "FOLDER": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_new_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    state = open_state(tmp_path / "deep" / "state")
    folders = [
        state.root,
        state.authorities,
        state.keys,
        state.members,
        state.consensus,
        state.run,
        state.logs,
    ]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * len(folders)
    assert state.version_file.read_text() == f"{LAYOUT_VERSION}\n"


def test_a_folder_that_was_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    state = open_state(tmp_path / "state")
    state.root.chmod(0o755)
    state.keys.chmod(0o777)
    open_state(tmp_path / "state")
    assert state.root.stat().st_mode & 0o777 == state.keys.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_a_newer_troth_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir(mode=0o755)
    (root / "version").write_text(f"{LAYOUT_VERSION + 1}\n")
    with pytest.raises(ConfigError, match="newer Troth") as refused:
        open_state(root)
    assert "--state FOLDER" in refused.value.hint
    assert [path.name for path in root.iterdir()] == ["version"]
    assert root.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("text", ["", "one", "-1", "1.0", "\u0661", "9" * 5_000])
def test_a_version_that_is_no_number_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    root = open_state(tmp_path / "state").root
    (root / "version").write_text(text)
    with pytest.raises(ConfigError, match=r"version number|newer Troth"):
        open_state(root)


def test_a_folder_with_other_things_in_it_is_not_taken_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        open_state(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_start_that_broke_off_while_writing_the_version_is_repeated(tmp_path: Path) -> None:
    (tmp_path / ".version.1234abcd").write_text("")
    assert open_state(tmp_path).version_file.exists()


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    root = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="too long"):
        open_state(root)
    assert list(root.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(PlatformError, match="state is no folder"):
        open_state(tmp_path / "state")


def test_too_little_space_is_told_in_mebibytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "FIRST_START_BYTES", 1 << 60)
    with pytest.raises(PlatformError, match=r"MiB left; a start needs \d+ MiB"):
        open_state(tmp_path / "state")
    (tmp_path / "state" / "members" / "1").mkdir()
    assert open_state(tmp_path / "state").members.is_dir()


def test_a_small_disk_is_refused_at_the_first_start(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=8m tmpfs '{tmp_path}'"
    said = open_in_namespace(mount, tmp_path / "state")
    assert said.startswith(f"PlatformError|The disk of the state folder {tmp_path}/state has 7 MiB left")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    fill = f"mount -t tmpfs -o size=1m tmpfs '{tmp_path}'; cat /dev/zero > '{tmp_path}/full' 2>&- || true"
    said = open_in_namespace(fill, tmp_path / "state")
    assert said.startswith(
        f"PlatformError|The state folder {tmp_path}/state cannot be written: No space left on device.|Free"
    )


def test_a_disk_that_fills_up_later_is_named(tmp_path: Path) -> None:
    root = open_state(tmp_path / "state").root
    fill = f"mount -t tmpfs -o size=1m,mode=700 tmpfs '{tmp_path}/state'; cp -r '{tmp_path}/copy/.' '{root}'"
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "version").write_text(f"{LAYOUT_VERSION}\n")
    fill += f"; mkdir '{root}/members'; cat /dev/zero > '{root}/members/wal' 2>&- || true"
    said = open_in_namespace(fill, root)
    assert "cannot be written: No space left on device" in said


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    root = open_state(tmp_path / "state").root
    mount = f"mount -t tmpfs tmpfs '{tmp_path}'; mkdir '{root}'; mount -o remount,ro tmpfs '{tmp_path}'"
    for folder in (root, tmp_path / "other"):
        said = open_in_namespace(mount, folder)
        assert said.startswith(
            f"PlatformError|The state folder {folder} cannot be written: Read-only file system"
        )


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65_534, 65_534)
    else:
        folder = Path("/usr")
    with pytest.raises(ConfigError, match="belongs to another user"):
        open_state(folder)
