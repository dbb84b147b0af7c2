"""What the keeper does with members that cannot help themselves, and when it leaves them alone."""

from pathlib import Path

import pytest

from troth.core.ca import LeafFiles
from troth.core.errors import PlatformError
from troth.core.process import Endpoint
from troth.data.mending import LOW, NOTHING
from troth.data.patroni import MemberStatus
from troth.data.replicas import Member
from troth.wiring import mending
from troth.wiring.mending import Mending, MendingTools, size
from troth.wiring.places import clear_set_aside, forget_copy, set_aside


class Set:
    """Three members of which `a` leads, and what was done to them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members = tuple(_member(folder, name) for name in "abc")
        self.states = {"a": "running", "b": "streaming", "c": "streaming"}
        self.free = dict.fromkeys("abc", 10 * LOW)
        self.done: list[str] = []
        self.damaged: set[str] = set()
        self.remarks: dict[str, str] = {}
        self.now = 1000.0
        self.refused = self.changing = False
        monkeypatch.setattr(mending, "free_bytes", self._free_bytes)
        self.mending = Mending(
            MendingTools(
                members=lambda: self.members,
                report=self._report,
                server=lambda _: None,
                damaged=self.damaged,
                copy_anew=self._copy_anew,
                relieve=self._relieve,
                end=lambda name, _: self.done.append(f"end {name}"),
                remarks=self.remarks,
                is_changing=lambda: self.changing,
            ),
            monotonic=lambda: self.now,
        )

    async def look(self, times: int = 1, every: float = 2.0) -> None:
        for _ in range(times):
            await self.mending.work()
            self.now += every

    def _free_bytes(self, folder: Path) -> int:
        return self.free[folder.name]

    async def _report(self) -> tuple[MemberStatus, ...]:
        return tuple(
            MemberStatus(
                name=name,
                role="leader" if name == "a" else "quorum_standby" if state == "streaming" else "replica",
                state=state,
            )
            for name, state in self.states.items()
        )

    async def _copy_anew(self, name: str) -> None:
        if self.refused:
            raise PlatformError("There is nobody.")
        self.done.append(f"copy {name}")

    async def _relieve(self, name: str, successor: str, _: str) -> None:
        self.done.append(f"relieve {name} by {successor}")


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Set:
    return Set(tmp_path, monkeypatch)


async def test_a_set_that_is_well_is_left_alone(three: Set) -> None:
    await three.look(100)
    assert three.done == []
    assert three.remarks == {}


async def test_a_standby_that_is_stuck_is_copied_once_and_then_more_and_more_seldom(three: Set) -> None:
    three.states["c"] = "stopped"
    await three.look(15)
    assert three.done == []
    await three.look(1)
    assert three.done == ["copy c"]
    await three.look(29)  # a minute must have passed, however stuck it is
    assert three.done == ["copy c"]
    await three.look(3)
    assert three.done == ["copy c", "copy c"]
    await three.look(55)
    assert three.done == ["copy c", "copy c"]


async def test_a_member_that_is_out_of_service_on_purpose_is_left_alone(three: Set) -> None:
    three.states["c"], three.changing = "stopped", True
    await three.look(100)
    three.changing = False
    await three.look(15)  # what was seen meanwhile does not count
    assert three.done == []


async def test_nothing_is_deleted_while_nobody_leads(three: Set) -> None:
    three.states |= {"a": "stopped", "c": "stopped"}
    await three.look(500)
    assert three.done == []


async def test_a_copy_that_would_not_fit_is_not_begun(three: Set) -> None:
    three.states["c"] = "stopped"
    (three.members[0].data / "table").write_bytes(bytes(1000))
    three.free["c"] = LOW
    await three.look(100)
    assert three.done == []
    three.free["c"] = LOW + 1000
    await three.look()
    assert three.done == ["copy c"]


async def test_a_copy_that_was_refused_is_tried_again(three: Set) -> None:
    three.states["c"], three.refused = "stopped", True
    await three.look(20)
    three.refused = False
    await three.look()
    assert three.done == ["copy c"]


async def test_a_damaged_standby_is_copied_while_another_confirms_and_only_then(three: Set) -> None:
    three.damaged.add("c")
    three.states["b"] = "starting"
    await three.look(5)
    assert three.done == []
    assert "fail their checksum" in three.remarks["c"]
    three.states["b"] = "streaming"
    await three.look(3)
    assert three.done == ["copy c"]
    assert three.damaged == set()


async def test_a_damaged_leader_hands_its_lead_to_a_sound_standby_before_anything_is_copied(
    three: Set,
) -> None:
    three.damaged.update("abc")
    await three.look(50)
    assert three.done == []
    three.damaged.discard("c")
    await three.look()
    assert three.done == ["relieve a by c"]


async def test_of_two_damaged_standbys_one_is_copied_while_the_other_confirms(three: Set) -> None:
    three.damaged.update("bc")
    await three.look()
    assert three.done == ["copy b"]
    three.states["b"] = "creating replica"
    await three.look(5)
    assert three.done == ["copy b"]
    three.states["b"] = "streaming"
    await three.look()
    assert three.done == ["copy b", "copy c"]


async def test_a_leader_with_little_room_hands_over_and_one_with_none_is_ended(three: Set) -> None:
    three.free |= {"a": LOW - 1, "b": LOW, "c": 2 * LOW}
    await three.look()
    assert three.done == ["relieve a by c"]
    assert "MB left on the disk of" in three.remarks["a"]
    three.free["a"] = NOTHING - 1
    await three.look()
    assert three.done == ["relieve a by c", "end a"]


async def test_where_all_share_one_full_disk_the_leader_stays(three: Set) -> None:
    three.free = dict.fromkeys("abc", 0)
    await three.look(10)
    assert three.done == []
    assert set(three.remarks) == {"a", "b", "c"}


async def test_a_member_whose_leader_is_on_another_host_is_mended_alike(three: Set) -> None:
    three.members = three.members[2:]
    three.states["c"] = "stopped"
    await three.look(16)
    assert three.done == ["copy c"]


def test_a_copy_is_forgotten_and_the_rest_of_the_members_folder_stays(tmp_path: Path) -> None:
    for name in ("data", "removed"):
        (tmp_path / name / "base").mkdir(parents=True)
    (tmp_path / "pgpass").touch()
    forget_copy(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["pgpass"]


def test_what_is_set_aside_is_kept_until_it_is_needed_no_more(tmp_path: Path) -> None:
    for generation in ("first", "second"):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / generation).write_bytes(b"12345")
        set_aside(tmp_path)
    assert not (tmp_path / "data").exists()
    assert [one.name for one in (tmp_path / "torn").iterdir()] == ["second"]
    assert size(tmp_path) == 5
    clear_set_aside(tmp_path)
    clear_set_aside(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _member(folder: Path, name: str) -> Member:
    leaf = LeafFiles(certificate=folder / "c", key=folder / "k")
    place = Endpoint("127.0.0.1", 1)
    (folder / name / "data").mkdir(parents=True)
    return Member(name=name, postgres=place, rest=place, folder=folder / name, server=leaf)
