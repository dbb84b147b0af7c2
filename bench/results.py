"""`bench/results.json`: the last run of each comparison, one entry per aim."""

import os
import platform
from pathlib import Path

import msgspec

from troth.core.clock import SystemClock, to_wire

FILE = Path(__file__).parent / "results.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. `ours` and `against` are medians in `unit`, `ratio` the median of the runs' ratios."""

    name: str
    ours: float
    against: float
    ratio: float
    aim: float
    met: bool
    unit: str
    runs: int
    machine: str
    date: str


def machine() -> str:
    """What it was measured on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{os.cpu_count()} cores, {model}, {platform.system()}, Python {platform.python_version()}"


def entry(
    name: str, pairs: list[tuple[float, float]], *, aim: float, unit: str, at_least: bool = True
) -> Entry:
    """The entry of pairs (ours, against) that were measured next to each other."""
    ratio = _median([ours / against for ours, against in pairs])
    return Entry(
        name=name,
        ours=round(_median([ours for ours, _ in pairs]), 2),
        against=round(_median([against for _, against in pairs]), 2),
        ratio=round(ratio, 3),
        aim=aim,
        met=ratio >= aim if at_least else ratio <= aim,
        unit=unit,
        runs=len(pairs),
        machine=machine(),
        date=to_wire(SystemClock().now()),
    )


def record(*entries: Entry, file: Path = FILE) -> None:
    """Put the entries in place of earlier ones of the same name, and print them."""
    kept: list[Entry] = []
    if file.exists():
        kept = msgspec.json.decode(file.read_bytes(), type=list[Entry])
    names = {each.name for each in entries}
    merged = sorted(
        [each for each in kept if each.name not in names] + list(entries), key=lambda each: each.name
    )
    file.write_bytes(msgspec.json.format(msgspec.json.encode(merged), indent=2) + b"\n")
    for each in entries:
        verdict = "met" if each.met else "NOT MET"
        print(
            f"{each.name}: {each.ours:g} against {each.against:g} {each.unit}, "
            f"ratio {each.ratio:g} (aim {each.aim:g}, {verdict}; {each.runs} runs)"
        )


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
