"""hosting.restart and hosting.replacement on sentinels, and what turns them red."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from troth.hosting import isolation, processes
from troth.hosting.healing import judge_replacement, judge_restart
from troth.hosting.judging import Patient
from troth.hosting.sentinels import PATIENCE_SECONDS, Replaced, Sentinels
from troth.hosting.supervisor import Supervisor


@pytest.fixture
async def sentinels(tmp_path: Path) -> AsyncIterator[Sentinels]:
    yield Sentinels(Supervisor(tmp_path, tmp_path / "crashes", isolation.probe()), tmp_path / "sentinels")
    assert processes.marked(processes.prefix(tmp_path)) == ()


async def test_a_sentinel_that_is_killed_runs_again(sentinels: Sentinels) -> None:
    seconds = await sentinels.restart()
    assert seconds is not None and judge_restart(seconds, ()).verdict == "proved"


async def test_one_that_nobody_starts_again_is_seen(
    sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.hosting.sentinels.PATIENCE_SECONDS", 1.0)
    finding = judge_restart(await sentinels.restart(None), ())
    assert finding.verdict == "broken" and "did not run again" in finding.evidence


async def test_a_sentinel_that_errs_is_relieved_and_replaced(sentinels: Sentinels) -> None:
    replaced = await sentinels.replacement()
    assert replaced.relieved is not None and replaced.replaced is not None
    assert replaced.relieved <= replaced.replaced <= PATIENCE_SECONDS
    assert judge_replacement(replaced, ()).verdict == "proved"


async def test_where_nobody_looks_after_them_it_is_seen(
    sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.hosting.sentinels.PATIENCE_SECONDS", 1.0)
    finding = judge_replacement(await sentinels.replacement(tended=False), ())
    assert finding.verdict == "broken" and "was not relieved" in finding.evidence


@pytest.mark.parametrize(
    ("away", "seconds", "restart", "replacement"),
    [
        (True, 61.0, "broken", "proved"),
        (False, 61.0, "proved", "broken"),
        (True, 5.0, "proved", "proved"),
        (False, 5.0, "proved", "proved"),
    ],
)
def test_an_instance_that_stays_ill_turns_its_promise_red(
    away: bool, seconds: float, restart: str, replacement: str
) -> None:
    patient = Patient(name="web-1", why="is ill", away=away, seconds=seconds)
    assert judge_restart(0.3, (patient,)).verdict == restart
    assert judge_replacement(Replaced(0.5, 1.5), (patient,)).verdict == replacement
