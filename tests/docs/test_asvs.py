"""docs/asvs.md answers each requirement of five chapters of OWASP ASVS 5.0; what it calls met has a test."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "asvs.md"

SECTIONS = {
    "V3.1": 1, "V3.2": 3, "V3.3": 5, "V3.4": 8, "V3.5": 8, "V3.6": 1, "V3.7": 5,
    "V6.1": 3, "V6.2": 12, "V6.3": 8, "V6.4": 6, "V6.5": 8, "V6.6": 4, "V6.7": 2, "V6.8": 4,
    "V7.1": 3, "V7.2": 4, "V7.3": 2, "V7.4": 5, "V7.5": 3, "V7.6": 2,
    "V9.1": 3, "V9.2": 4,
    "V10.1": 2, "V10.2": 3, "V10.3": 5, "V10.4": 16, "V10.5": 5, "V10.6": 2, "V10.7": 3,
}  # fmt: skip
"""How many requirements each section of the standard has."""

_ROW = re.compile(
    r"^\| (V\d+\.\d+\.\d+) \| ([123]) \| (met|not met|not applicable) \| ([^|]+) \| ([^|]*) \|$"
)
_TEST = re.compile(r"\[`([\w/]+\.py)::(test_\w+)`\]\(\.\./([\w/]+\.py)\)")


def rows() -> list[tuple[str, str, str, str]]:
    """Requirement, answer, reason, evidence of each row."""
    found = [_ROW.match(line) for line in PAGE.read_text().splitlines() if line.startswith("| V")]
    assert all(found), "a row does not have the form: | id | level | answer | how | shown by |"
    return [(match[1], match[3], match[4], match[5]) for match in found if match is not None]


def test_each_requirement_is_answered_once_and_in_order() -> None:
    wanted = [f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1)]
    assert [requirement for requirement, *_ in rows()] == wanted


def test_the_page_counts_its_own_answers() -> None:
    counts = Counter(answer for _, answer, *_ in rows())
    line = ", ".join(f"{counts[answer]} {answer}" for answer in ("met", "not met", "not applicable"))
    assert f"\n{line}.\n" in PAGE.read_text()


@pytest.mark.parametrize("row", rows() if PAGE.exists() else [], ids=lambda row: row[0])
def test_what_is_met_names_a_test_that_exists(row: tuple[str, str, str, str]) -> None:
    requirement, answer, how, shown = row
    assert how.strip(), f"{requirement} says nothing"
    named = _TEST.findall(shown)
    if answer == "met":
        assert named, f"{requirement} is called met and names no test"
    for file, test, link in named:
        assert link == file
        assert re.search(rf"^\s*(?:async )?def {test}\(", (ROOT / file).read_text(), re.MULTILINE), test
