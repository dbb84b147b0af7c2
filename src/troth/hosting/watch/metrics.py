"""Every metric that there is, and samples of them in Prometheus' text format.

The names of labels are fixed here. Their values name parts of this platform, never a person, a tenant or an
address, so their number is bounded by what runs; `MOST_SERIES` bounds it all the same.
"""

import functools
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MOST_SERIES = 300
"""Of one metric. More are left out, and counted in troth_metrics_left_out."""

Source = Literal[
    "keeper",
    "processes",
    "machine",
    "instances",
    "edge",
    "database",
    "alarms",
    "backups",
    "certificates",
    "promises",
]
"""Who looks: what is one source is seen in one look, and is stale together."""


class Metric(msgspec.Struct, frozen=True):
    """`name` and `labels` as Prometheus sees them; `help` says what the number means, with its unit."""

    name: str
    source: Source
    help: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


class Sample(msgspec.Struct, frozen=True):
    """One number: the values of its metric's labels in order. `words` say more, for an alert alone."""

    metric: str
    value: float
    labels: tuple[str, ...] = ()
    words: str = ""

    @property
    def key(self) -> str:
        """The series as a query names it: `troth_member_lag_bytes{member="b"}`."""
        return _series(self.metric, self.labels)


@functools.lru_cache(2048)
def _series(metric: str, labels: tuple[str, ...]) -> str:
    pairs = ",".join(f'{name}="{value}"' for name, value in zip(METRICS[metric].labels, labels, strict=True))
    return f"{metric}{{{pairs}}}" if pairs else metric


_PROCESS, _INSTANCE, _MEMBER = ("process",), ("service", "instance"), ("member",)

_ALL = (
    Metric("troth_keeper_uptime_seconds", "keeper", "Since the keeper began."),
    Metric("troth_keeper_loop_lag_seconds", "keeper", "How late the keeper's event loop came to a call."),
    Metric("troth_keeper_cpu_seconds", "keeper", "Processor time of the keeper.", kind="counter"),
    Metric("troth_keeper_open_files", "keeper", "Descriptors that the keeper holds."),
    Metric("troth_duty_failed", "keeper", "1 while the last round of a duty failed.", ("duty",)),
    Metric("troth_undeclared_destinations", "keeper", "Strays of the last five minutes.", ()),
    Metric("troth_watch_age_seconds", "keeper", "Since a source was last seen.", ("source",)),
    Metric("troth_watch_look_seconds", "keeper", "How long the last look at a source took.", ("source",)),
    Metric("troth_watch_stale", "keeper", "1 when a source is not watched any more.", ("source",)),
    Metric("troth_metrics_left_out", "keeper", "Series beyond the bound of one metric."),
    Metric("troth_alerts_open", "keeper", "Alerts that stand, silenced ones too.", ("severity",)),
    Metric("troth_alerts_waiting", "keeper", "Messages that no target has taken yet.", ("target",)),
    Metric("troth_alerts_delivered", "keeper", "Messages that a target took.", ("target",), "counter"),
    Metric("troth_alerts_lost", "keeper", "Messages given up or crowded out.", ("target",), "counter"),
    Metric("troth_traces_waiting", "keeper", "Spans that the collector has not taken yet."),
    Metric("troth_traces_sent", "keeper", "Spans that the collector took.", kind="counter"),
    Metric("troth_traces_lost", "keeper", "Spans crowded out, or never written.", kind="counter"),
    Metric("troth_traces_refused", "keeper", "Spans it will not take, or that are none.", kind="counter"),
    Metric("troth_traces_failing_seconds", "keeper", "Since the collector last took what was sent."),
    Metric("troth_process_running", "processes", "1 while it runs, 0 while it waits.", _PROCESS),
    Metric("troth_process_restarts", "processes", "Starts after the first.", _PROCESS, "counter"),
    Metric("troth_process_exits_lately", "processes", "Unasked ends in five minutes.", _PROCESS),
    Metric("troth_process_memory_bytes", "machine", "Memory, its children's too.", _PROCESS),
    Metric("troth_process_open_files", "machine", "Descriptors, its children's too.", _PROCESS),
    Metric("troth_disk_free_bytes", "machine", "What is left for this user.", ("place",)),
    Metric("troth_disk_size_bytes", "machine", "The size of the file system.", ("place",)),
    Metric("troth_disk_free_ratio", "machine", "What is left, of the whole.", ("place",)),
    Metric("troth_memory_available_ratio", "machine", "What is available, of the whole."),
    Metric("troth_memory_available_bytes", "machine", "What programs can still have, without swapping."),
    Metric("troth_memory_size_bytes", "machine", "Of the machine, or of the limit set for us."),
    Metric("troth_machine_load", "machine", "Processes that run or wait to run, over a minute."),
    Metric("troth_instance_ready", "instances", "1 when it answers that it is ready.", _INSTANCE),
    Metric("troth_instance_answer_seconds", "instances", "Its last answer to the keeper.", _INSTANCE),
    Metric("troth_instance_generation", "instances", "Its number of replacements, from 1.", _INSTANCE),
    Metric("troth_instance_loop_lag_seconds", "instances", "How late its event loop came.", _INSTANCE),
    Metric("troth_instance_in_flight", "instances", "Requests that it works on.", _INSTANCE),
    Metric("troth_instance_failures", "instances", "Its answers of 5xx.", _INSTANCE, "counter"),
    Metric("troth_instance_exceptions", "instances", "Nobody caught them.", _INSTANCE, "counter"),
    Metric("troth_instance_ill", "instances", "1 for one that was not well at the last look.", _INSTANCE),
    Metric("troth_instance_deeds_lately", "instances", "Ended or replaced in five minutes.", ("service",)),
    Metric("troth_service_alarm", "instances", "1 when no replacement would help.", ("service",)),
    Metric("troth_edge_up", "edge", "1 when the edge's administration answers."),
    Metric("troth_edge_in_flight", "edge", "Requests at an instance now.", _INSTANCE),
    Metric("troth_edge_requests", "edge", "Answers by class of status.", ("service", "status"), "counter"),
    Metric("troth_edge_request_seconds", "edge", "Time of all answers, summed.", ("service",), "counter"),
    Metric("troth_edge_requests_minute", "edge", "Answers within the last minute.", ("service",)),
    Metric("troth_edge_error_ratio", "edge", "5xx of the answers of the last minute.", ("service",)),
    Metric("troth_edge_latency_seconds", "edge", "Quantile over a minute.", ("service", "quantile")),
    Metric("troth_database_writable", "database", "1 while a member leads."),
    Metric("troth_member_running", "database", "1 when the set knows it as running.", _MEMBER),
    Metric("troth_member_leader", "database", "1 for the one that leads.", _MEMBER),
    Metric("troth_member_lag_bytes", "database", "Log that it has not yet replayed.", _MEMBER),
    Metric("troth_alarm_lately", "alarms", "1 for ten minutes after an alarm in the trail.", ("alarm",)),
    Metric("troth_backup_age_seconds", "backups", "Since the newest backup ended."),
    Metric("troth_backup_log_age_seconds", "backups", "Since the log was last safe in the store."),
    Metric("troth_backup_problems", "backups", "What is wrong with backups, a sentence each."),
    Metric("troth_backup_drill_failed", "backups", "1 when the last restore for practice failed."),
    Metric("troth_certificate_left_seconds", "certificates", "Until it ends.", ("trust", "holder")),
    Metric("troth_certificate_left_ratio", "certificates", "Of its life.", ("trust", "holder")),
    Metric("troth_promise_broken", "promises", "1 when the last probe saw it broken.", ("promise",)),
    Metric("troth_drill_failed", "promises", "1 when the last drill's probe saw nothing.", ("promise",)),
)

METRICS: dict[str, Metric] = {one.name: one for one in _ALL}


class _Gathered(Collector):
    """The samples of one moment, in the shape that the library renders."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_metric: defaultdict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            self._by_metric[sample.metric].append(sample)

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        for metric in METRICS.values():
            found = self._by_metric.get(metric.name)
            if not found:
                continue
            make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = make(metric.name, metric.help, labels=metric.labels)
            for sample in found:
                family.add_metric(sample.labels, sample.value)
            yield family


def exported_name(metric: Metric) -> str:
    """As it is scraped: counters end in `_total`."""
    return f"{metric.name}_total" if metric.kind == "counter" else metric.name


def bounded(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """At most `MOST_SERIES` of each metric, and how many were left out."""
    seen: defaultdict[str, int] = defaultdict(int)
    kept: list[Sample] = []
    for sample in samples:
        seen[sample.metric] += 1
        if seen[sample.metric] <= MOST_SERIES:
            kept.append(sample)
    left_out = sum(max(count - MOST_SERIES, 0) for count in seen.values())
    return (*kept, Sample("troth_metrics_left_out", left_out))


def render(samples: Iterable[Sample]) -> str:
    """Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gathered(bounded(samples)))
    return generate_latest(registry).decode()
