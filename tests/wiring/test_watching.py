"""How often what is costly to see is looked at."""

from pathlib import Path

import pytest

from troth.hosting.machine import Usage
from troth.wiring import watching
from troth.wiring.watching import SHARES_SECONDS, MachineWatch


async def test_what_each_process_has_is_read_once_a_minute_and_told_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, reads = 5.0, 0

    def usage(_: Path) -> dict[str, Usage]:
        nonlocal reads
        reads += 1
        return {"web-1": Usage(1000 * reads, 7)}

    monkeypatch.setattr(watching, "usage_by_name", usage)
    source = MachineWatch(tmp_path, {"state": tmp_path}, lambda: now).source()

    async def memory() -> list[float]:
        samples = (await source.look()).samples
        return [one.value for one in samples if one.metric == "troth_process_memory_bytes"]

    assert [await memory(), await memory()] == [[1000.0], [1000.0]]
    now += SHARES_SECONDS
    assert await memory() == [2000.0]
