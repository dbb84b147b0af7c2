"""Metrics as a scraper reads them: the library's own parser, bounded sets of labels."""

from prometheus_client.parser import text_string_to_metric_families

from troth.hosting.watch.metrics import METRICS, MOST_SERIES, Sample, exported_name, render
from troth.hosting.watch.rules import RULES


def test_what_is_rendered_is_read_back_by_the_library() -> None:
    text = render(
        (
            Sample("troth_member_lag_bytes", 17.0, ("b",)),
            Sample("troth_edge_requests", 3.0, ('we"b\n', "2xx")),
            Sample("troth_edge_up", 1.0),
        )
    )
    read = {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }
    assert read["troth_member_lag_bytes", "b"] == 17.0
    assert read["troth_edge_requests_total", "2xx", 'we"b\n'] == 3.0
    assert read["troth_edge_up",] == 1.0


def test_no_metric_has_more_series_than_the_bound_and_the_rest_is_counted() -> None:
    many = [Sample("troth_process_running", 1.0, (f"p{number}",)) for number in range(MOST_SERIES + 7)]
    lines = render(many).splitlines()
    assert sum(line.startswith("troth_process_running{") for line in lines) == MOST_SERIES
    assert "troth_metrics_left_out 7.0" in lines


def test_every_name_is_one_that_prometheus_takes_and_says_what_it_means() -> None:
    for metric in METRICS.values():
        assert metric.name.startswith("troth_"), metric.name
        assert metric.help.endswith("."), metric.name
        assert exported_name(metric).endswith("_total") == (metric.kind == "counter")


def test_every_rule_looks_at_a_metric_that_exists_and_can_say_it() -> None:
    for rule in RULES:
        labels = METRICS[rule.metric].labels
        assert rule.says.format(*labels, value=0.5, words="words"), rule.name
