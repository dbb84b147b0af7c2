"""How much memory there is: that of the machine, or what the control groups above us allow."""

from pathlib import Path

import psutil

from troth.hosting.machine import memory_of_machine


def group(folder: Path, most: str, used: int, idle: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 7\ninactive_file {idle}\n")
    return folder


def test_the_tightest_group_above_us_is_what_there_is(tmp_path: Path) -> None:
    group(tmp_path, str(64 << 20), 40 << 20, 10 << 20)
    within = group(tmp_path / "unit", str(128 << 20), 1 << 20, 0)
    leaf = group(within / "leaf", "max", 1 << 20, 0)
    seen = memory_of_machine(leaf)
    assert (seen.size, seen.available) == (64 << 20, 34 << 20)


def test_where_no_group_allows_less_it_is_the_machines(tmp_path: Path) -> None:
    group(tmp_path, "max", 1, 0)
    assert memory_of_machine(tmp_path).size == psutil.virtual_memory().total
    assert memory_of_machine(tmp_path / "none").size == psutil.virtual_memory().total
