"""Where control groups go on machines as they are met, from what their kernels told."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from troth.core.process import Bounds
from troth.hosting.cgroups.groups import look
from troth.hosting.cgroups.places import (
    Choice,
    Look,
    Mount,
    Place,
    base_of,
    choose,
    concerns,
    held_memory,
    leaf_of,
    name_of,
    out_of_memory,
    prefix,
    read_mounts,
    read_own,
    values,
)

BOUNDS = Bounds(memory=256 << 20, tasks=64)
STATE = Path("/srv/troth")
LEAF = leaf_of(STATE)
ALL = frozenset({"cpu", "memory", "pids", "io", "cpuset"})
WRITABLE, READ_ONLY = Look(writable=True), Look(writable=False)

VERSION_1 = """\
24 30 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw
34 24 0:29 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
36 34 0:31 /docker/4f /sys/fs/cgroup/cpu,cpuacct rw,nosuid master:16 - cgroup cgroup rw,cpu,cpuacct
37 34 0:32 /docker/4f /sys/fs/cgroup/memory rw,nosuid master:17 - cgroup cgroup rw,memory
38 34 0:33 /docker/4f /sys/fs/cgroup/pids rw,nosuid master:18 - cgroup cgroup rw,pids
"""
OWN_1 = "11:memory:/docker/4f\n10:pids:/docker/4f\n4:cpu,cpuacct:/docker/4f/below\n1:name=systemd:/\n"

HYBRID = """\
42 38 0:38 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
45 38 0:41 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
49 38 0:45 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
51 38 0:47 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
OWN_HYBRID = "8:pids:/\n4:memory:/one/two\n1:cpu:/\n0::/\n"

VERSION_2 = "29 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
UNIT = "0::/system.slice/troth.service\n"
SERVICE = Path("/sys/fs/cgroup/system.slice/troth.service")


def chosen(mounts: str, own: str, seen: Callable[[Path], Look], *, managed: bool = False) -> Choice:
    return choose(read_mounts(mounts), read_own(own), seen, leaf=LEAF, managed=managed)


def of(**folders: Look) -> Callable[[Path], Look]:
    """By the last name of a folder; any other cannot be written."""
    return lambda folder: folders.get(folder.name.partition(".")[0], READ_ONLY)


def test_version_1_takes_the_group_of_each_tree_that_the_process_is_in() -> None:
    choice = chosen(VERSION_1, OWN_1, lambda _: WRITABLE)
    trees = Path("/sys/fs/cgroup")
    assert choice == Choice(
        (
            Place(trees / "memory", 1, ("memory",)),
            Place(trees / "pids", 1, ("pids",)),
            Place(trees / "cpu,cpuacct/below", 1, ("cpu",)),
        )
    )
    assert choice.held == ("memory", "pids", "cpu")


def test_a_hybrid_machine_has_its_limits_in_version_1_and_ends_groups_in_version_2() -> None:
    choice = chosen(HYBRID, OWN_HYBRID, lambda _: WRITABLE, managed=True)
    trees = Path("/sys/fs/cgroup")
    assert choice.places == (
        Place(trees / "memory/one/two", 1, ("memory",)),
        Place(trees / "pids", 1, ("pids",)),
        Place(trees / "cpu", 1, ("cpu",)),
        Place(trees / "unified", 2, ()),
    )
    assert choice.why_not == ""


def test_of_a_tree_that_cannot_be_written_the_rest_is_used_and_the_reason_told() -> None:
    choice = chosen(HYBRID, OWN_HYBRID, lambda folder: READ_ONLY if folder.name == "two" else WRITABLE)
    assert choice.held == ("pids", "cpu")
    assert choice.why_not == "/sys/fs/cgroup/memory/one/two cannot be written by this user"


def test_a_unit_that_systemd_gave_away_holds_everything_in_one_tree() -> None:
    divided = Look(writable=True, offered=ALL, enabled=ALL, delegated=True)
    for own in (f"{UNIT.strip()}/{LEAF}\n", f"{UNIT.strip()}/supervisor\n"):
        seen = of(troth=divided, supervisor=Look(writable=True, offered=ALL), **{LEAF: WRITABLE})
        choice = chosen(VERSION_2, own, seen, managed=True)
        assert choice == Choice((Place(SERVICE, 2, ("memory", "pids", "cpu")),))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (READ_ONLY, f"{SERVICE} cannot be written by this user"),
        (
            Look(writable=True, offered=ALL, enabled=ALL),
            f"systemd has not given us {SERVICE} to divide (Delegate=yes in the platform's unit)",
        ),
        (Look(writable=True, offered=ALL, delegated=True), f"{SERVICE} holds others than the platform"),
        (
            Look(writable=True, offered=frozenset({"pids"}), enabled=frozenset({"pids"}), delegated=True),
            f"{SERVICE} does not offer memory and cpu",
        ),
    ],
)
def test_why_a_unit_cannot_be_divided_is_told(seen: Look, why: str) -> None:
    choice = chosen(VERSION_2, UNIT, of(troth=seen), managed=True)
    assert "memory" not in choice.held
    assert choice.why_not == why


def test_without_systemd_nobody_has_to_give_a_group_away() -> None:
    seen = of(troth=Look(writable=True, offered=ALL, enabled=ALL))
    assert chosen(VERSION_2, UNIT, seen).held == ("memory", "pids", "cpu")


@pytest.mark.parametrize(
    ("mounts", "own"), [("", ""), (VERSION_2, ""), (VERSION_2, "0::/../elsewhere\n"), ("", OWN_1)]
)
def test_a_machine_that_shows_no_groups_gives_no_place_and_a_reason(mounts: str, own: str) -> None:
    choice = chosen(mounts, own, lambda _: WRITABLE)
    assert choice == Choice((), "this machine shows no control groups for memory and pids and cpu")


def test_a_group_that_lies_outside_of_what_is_shown_is_no_place() -> None:
    choice = chosen(VERSION_1, OWN_1.replace("memory:/docker/4f", "memory:/docker/5a"), lambda _: WRITABLE)
    assert choice.held == ("pids", "cpu")
    assert choice.why_not == "this machine shows no control groups for memory"


def test_spaces_in_the_name_of_a_tree_are_understood() -> None:
    line = VERSION_2.replace("/sys/fs/cgroup", r"/trees/of\040groups")
    assert read_mounts(line) == (Mount(Path("/trees/of groups"), "/", 2, frozenset()),)


def test_the_group_to_divide_is_the_one_above_a_leaf() -> None:
    nobodys, given = of(), of(troth=Look(writable=True, delegated=True))
    assert base_of(SERVICE, nobodys, LEAF) == SERVICE
    assert base_of(SERVICE, given, LEAF) == SERVICE
    assert base_of(SERVICE / LEAF, nobodys, LEAF) == SERVICE
    assert base_of(SERVICE / "supervisor", given, LEAF) == SERVICE


def test_names_tell_the_platform_the_process_and_its_start() -> None:
    assert name_of(STATE, "portal-1", 7) == f"{prefix(STATE)}portal-1-7"
    assert prefix(STATE) != prefix(STATE / "other")
    assert "/" not in name_of(STATE, "../../up", 1)


def test_an_instance_is_bounded_in_each_tree_and_the_platforms_own_parts_are_not() -> None:
    memory, cpu = Place(STATE, 1, ("memory",)), Place(STATE, 1, ("cpu",))
    one = Place(STATE, 2, ("memory", "pids", "cpu"))
    most = str(256 << 20)
    assert values(memory, BOUNDS) == (
        ("memory.limit_in_bytes", most),
        ("memory.memsw.limit_in_bytes", most),
    )
    assert values(cpu, BOUNDS) == (("cpu.shares", "1024"),)
    assert values(one, BOUNDS) == (
        ("memory.max", most),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
        ("pids.max", "64"),
        ("cpu.weight", "100"),
    )
    assert values(memory, None) == ()
    assert values(one, None) == (("cpu.weight", "1000"),)
    assert [concerns(place, None) for place in (memory, cpu, one)] == [True, False, True]
    assert concerns(cpu, BOUNDS)


def test_what_the_kernel_counts_is_read_in_both_versions() -> None:
    assert out_of_memory("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n") == 2
    assert out_of_memory("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n") == 1
    assert out_of_memory("") == 0
    assert held_memory("cache 9\nrss 1\ntotal_cache 900\ntotal_rss 70\ntotal_shmem 5\n") == 75
    assert held_memory("anon 70\nfile 900\nkernel 4\nshmem 5\n") == 75


def test_a_folder_is_seen_as_its_files_are(tmp_path: Path) -> None:
    assert look(tmp_path / "none") == Look(writable=False)
    (tmp_path / "cgroup.procs").touch()
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    assert look(tmp_path) == Look(
        writable=True,
        offered=frozenset({"cpu", "memory", "pids"}),
        enabled=frozenset({"memory"}),
        delegated=os.geteuid() != 0,
    )
