"""The releases of an application: copies that stay what they were, and the one that is current."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from troth.core.errors import PlatformError, UsageError
from troth.hosting import releases
from troth.hosting.releases import KEPT, Kept, Shelf

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TARGET = "shop:app"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "shop" / "__pycache__").mkdir(parents=True)
    (folder / "shop" / "__init__.py").write_text("app = 1")
    (folder / "shop" / "__pycache__" / "old.pyc").write_text("no")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("no")
    (folder / "env").mkdir()
    (folder / "env" / "pyvenv.cfg").write_text("home = /usr/bin")
    return folder


class Store:
    """A shelf that can be opened anew, as after a restart of the keeper."""

    def __init__(self, root: Path, source: Path) -> None:
        self.root, self.source = root, source
        self.shelf = self.open()

    def open(self) -> Shelf:
        return Shelf(self.root / "shop", but=self.source / "state")

    def deploy(self, folder: Path | None = None) -> Kept:
        declared = (self.source, TARGET)
        kept = self.shelf.take(folder or self.source, TARGET, NOW, declared=declared)
        self.shelf.promote(kept.number)
        return kept

    def start(self) -> int:
        """What the platform runs when it comes up."""
        return self.open().at_start(self.source, TARGET, NOW).number

    def fates(self) -> list[str]:
        return [one.fate for one in self.open().releases]


@pytest.fixture
def store(tmp_path: Path, source: Path) -> Store:
    return Store(tmp_path / "releases", source)


def test_a_release_is_a_copy_without_what_is_hidden_or_cached(store: Store) -> None:
    kept = store.deploy()
    folder = store.shelf.release(kept).folder
    (store.source / "shop" / "__init__.py").write_text("app = 2")
    files = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    assert files == ["shop/__init__.py"]
    assert (folder / "shop" / "__init__.py").read_text() == "app = 1", "it stays what it was"


def test_a_start_without_any_change_runs_the_same_release(store: Store) -> None:
    assert [store.start(), store.start(), store.start()] == [1, 1, 1]
    assert store.fates() == ["current"]


def test_what_was_deployed_is_still_current_after_a_restart(store: Store, tmp_path: Path) -> None:
    store.start()
    store.shelf = store.open()
    other = tmp_path / "other"
    other.mkdir()
    (other / "shop.py").write_text("app = 3")
    assert store.deploy(other).number == 2
    assert store.start() == 2


def test_a_folder_that_changed_since_is_a_new_release_at_the_next_start(store: Store) -> None:
    store.start()
    (store.source / "shop" / "__init__.py").write_text("app = 2")
    assert store.start() == 2
    assert store.fates() == ["former", "current"]


def test_a_folder_that_was_edited_and_deployed_is_not_taken_twice(store: Store) -> None:
    store.start()
    store.shelf = store.open()
    (store.source / "shop" / "__init__.py").write_text("app = 2")
    store.deploy()
    assert store.start() == 2


def test_after_a_release_failed_the_former_is_current_also_after_a_restart(store: Store) -> None:
    store.deploy()
    store.deploy()
    store.shelf.fail(2, "7 answers were errors")
    assert store.fates() == ["current", "failed"]
    assert store.start() == 1
    assert store.open().releases[1].why == "7 answers were errors"


def test_a_release_that_never_served_changes_nothing_when_it_fails(store: Store) -> None:
    store.deploy()
    kept = store.shelf.take(store.source, TARGET, NOW, declared=(store.source, TARGET))
    store.shelf.fail(kept.number, "it did not start")
    assert store.fates() == ["current", "failed"]


def test_a_rollback_and_another_lead_there_and_back(store: Store) -> None:
    store.deploy()
    store.deploy()
    former = store.shelf.former
    assert former is not None
    store.shelf.promote(former.number)
    assert store.fates() == ["current", "former"]


def test_old_releases_go_and_the_way_back_stays(store: Store) -> None:
    for _ in range(KEPT + 4):
        store.deploy()
    numbers = [one.number for one in store.open().releases]
    assert len(numbers) == KEPT
    assert sorted(int(one.name) for one in (store.root / "shop").iterdir() if one.is_dir()) == numbers
    assert store.fates()[-2:] == ["former", "current"]


def test_a_link_that_leads_out_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (store.source / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError, match="leads out"):
        store.deploy()
    assert store.open().releases == ()


def test_a_release_beyond_the_bounds_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "MOST_FILES", 1)
    (store.source / "second.py").write_text("")
    with pytest.raises(UsageError, match="more than 1 files"):
        store.deploy()


def test_the_state_folder_inside_the_application_is_left_out(store: Store) -> None:
    (store.source / "state").mkdir()
    (store.source / "state" / "huge").write_text("state")
    folder = store.shelf.release(store.deploy()).folder
    assert not (folder / "state").exists()


def test_a_file_of_releases_that_cannot_be_read_stops_with_what_to_do(store: Store) -> None:
    store.deploy()
    (store.root / "shop" / "releases.json").write_text("{")
    with pytest.raises(PlatformError) as refused:
        store.open()
    assert "Move" in refused.value.hint
