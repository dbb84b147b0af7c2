"""The dashboard for Grafana asks for metrics that exist, by labels that they have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from troth.hosting.watch.metrics import METRICS, exported_name

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs" / "grafana" / "troth.json").read_text())
EXPORTED = {exported_name(metric): metric for metric in METRICS.values()}

QUERIES = [
    pytest.param(target, id=f"{panel['title']} {target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


@pytest.mark.parametrize("target", QUERIES)
def test_a_query_names_a_metric_and_labels_that_exist(target: dict[str, Any]) -> None:
    (name,) = set(re.findall(r"troth_\w+", target["expr"]))
    assert name in EXPORTED
    shown = re.findall(r"{{(\w+)}}", target["legendFormat"])
    groups = re.findall(r"by \(([^)]*)\)", target["expr"])
    grouped = [label for group in groups for label in group.split(", ")]
    assert {*shown, *grouped} <= set(EXPORTED[name].labels)
    assert not grouped or set(shown) == set(grouped)


def test_counters_are_drawn_as_rates() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert ("_total" in target["expr"]) == ("rate(" in target["expr"]), panel["title"]
