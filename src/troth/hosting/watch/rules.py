"""When a number is an alarm: each rule looks at the samples of one metric, and at nothing else."""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from troth.hosting.watch.metrics import Sample

Severity = Literal["warning", "critical"]

LAG_BYTES = 64 << 20
LIFE_LEFT = 1 / 6
"""Certificates are renewed when a third of their life is left; half of that has passed in vain."""
DISK_WARNING, DISK_CRITICAL, MEMORY_LEFT = 0.10, 0.04, 0.08
ERROR_RATIO, LOOP_LAG_SECONDS = 0.05, 1.0
TRACES_SECONDS = 60.0


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`breaks` says whether a value is an alarm, `says` what is told of it, with the labels filled in.

    It has to break for `hold` seconds before anybody is told, and to be well for `calm` seconds before it
    counts as over: one late answer wakes nobody, and what flaps is one alarm and not a hundred.
    """

    name: str
    severity: Severity
    metric: str
    breaks: Callable[[float], bool]
    says: str
    hold: float = 0.0
    calm: float = 30.0


class Fault(msgspec.Struct, frozen=True):
    """A rule that a sample breaks. `key` names both and stays the same for as long as it lasts."""

    key: str
    rule: str
    severity: Severity
    words: str


def _is_zero(value: float) -> bool:
    return value < 1


def _is_set(value: float) -> bool:
    return value >= 1


def _below(bound: float) -> Callable[[float], bool]:
    return lambda value: value < bound


def _above(bound: float) -> Callable[[float], bool]:
    return lambda value: value > bound


RULES: tuple[Rule, ...] = (
    Rule(
        name="instance.down",
        severity="critical",
        metric="troth_instance_ready",
        breaks=_is_zero,
        says="Instance {1} of {0} does not answer",
        hold=1.0,
    ),
    Rule(
        name="instance.ill",
        severity="warning",
        metric="troth_instance_ill",
        breaks=_is_set,
        says="Instance {1} of {0} is not well: {words}",
        hold=1.0,
    ),
    Rule(
        name="instance.replaced",
        severity="warning",
        metric="troth_instance_deeds_lately",
        breaks=_is_set,
        says="{value:.0f} instances of {0} were ended or replaced in five minutes; {words}",
        calm=0.0,
    ),
    Rule(
        name="service.ill",
        severity="critical",
        metric="troth_service_alarm",
        breaks=_is_set,
        says="Service {0} is ill, and no replacement helps: {words}",
        hold=1.0,
    ),
    Rule(
        name="instance.lagging",
        severity="warning",
        metric="troth_instance_loop_lag_seconds",
        breaks=_above(LOOP_LAG_SECONDS),
        says="Instance {1} of {0} comes to its work {value:.1f} s late",
        hold=10.0,
    ),
    Rule(
        name="process.ended",
        severity="warning",
        metric="troth_process_exits_lately",
        breaks=_is_set,
        says="Process {0} ended by itself, {value:.0f} times in five minutes",
        calm=0.0,
    ),
    Rule(
        name="process.waiting",
        severity="critical",
        metric="troth_process_running",
        breaks=_is_zero,
        says="Process {0} waits to be started again",
        hold=5.0,
    ),
    Rule(
        name="edge.down",
        severity="critical",
        metric="troth_edge_up",
        breaks=_is_zero,
        says="The edge does not answer",
        hold=1.0,
    ),
    Rule(
        name="edge.errors",
        severity="critical",
        metric="troth_edge_error_ratio",
        breaks=_above(ERROR_RATIO),
        says="{value:.0%} of the answers of {0} in the last minute were errors",
        hold=5.0,
        calm=60.0,
    ),
    Rule(
        name="database.no_leader",
        severity="critical",
        metric="troth_database_writable",
        breaks=_is_zero,
        says="No database member leads: nothing can be written",
        hold=1.0,
    ),
    Rule(
        name="member.down",
        severity="critical",
        metric="troth_member_running",
        breaks=_is_zero,
        says="Database member {0} does not do its part",
        hold=2.0,
    ),
    Rule(
        name="member.lag",
        severity="warning",
        metric="troth_member_lag_bytes",
        breaks=_above(LAG_BYTES),
        says="Database member {0} is {value:,.0f} bytes of log behind",
        hold=30.0,
    ),
    Rule(
        name="certificate.expiring",
        severity="critical",
        metric="troth_certificate_left_ratio",
        breaks=_below(LIFE_LEFT),
        says="The certificate of {1} ({0}) has {value:.0%} of its life left and was not renewed",
    ),
    Rule(
        name="disk.filling",
        severity="warning",
        metric="troth_disk_free_ratio",
        breaks=_below(DISK_WARNING),
        says="{value:.1%} of the disk of {0} is free",
        hold=10.0,
        calm=300.0,
    ),
    Rule(
        name="disk.full",
        severity="critical",
        metric="troth_disk_free_ratio",
        breaks=_below(DISK_CRITICAL),
        says="{value:.1%} of the disk of {0} is free; members stop when none is left",
        hold=2.0,
        calm=60.0,
    ),
    Rule(
        name="memory.short",
        severity="critical",
        metric="troth_memory_available_ratio",
        breaks=_below(MEMORY_LEFT),
        says="{value:.1%} of the memory is available",
        hold=15.0,
        calm=60.0,
    ),
    Rule(
        name="keeper.lagging",
        severity="warning",
        metric="troth_keeper_loop_lag_seconds",
        breaks=_above(LOOP_LAG_SECONDS),
        says="The keeper comes to its work {value:.1f} s late",
        hold=10.0,
    ),
    Rule(
        name="duty.failing",
        severity="warning",
        metric="troth_duty_failed",
        breaks=_is_set,
        says="{0} failed: {words}",
        hold=30.0,
    ),
    Rule(
        name="backup.problem",
        severity="critical",
        metric="troth_backup_problems",
        breaks=_is_set,
        says="Backups: {words}",
        hold=10.0,
    ),
    Rule(
        name="backup.drill",
        severity="critical",
        metric="troth_backup_drill_failed",
        breaks=_is_set,
        says="The last restore of a backup for practice failed: {words}",
    ),
    Rule(
        name="security.alarm",
        severity="critical",
        metric="troth_alarm_lately",
        breaks=_is_set,
        says="{0}: {words}",
        calm=0.0,
    ),
    Rule(
        name="residency.undeclared",
        severity="critical",
        metric="troth_undeclared_destinations",
        breaks=_is_set,
        says="{words}",
    ),
    Rule(
        name="promise.broken",
        severity="critical",
        metric="troth_promise_broken",
        breaks=_is_set,
        says="The promise {0} is broken: {words}",
    ),
    Rule(
        name="drill.failed",
        severity="warning",
        metric="troth_drill_failed",
        breaks=_is_set,
        says="The drill of {0} failed: its probe did not turn red and back",
    ),
    Rule(
        name="traces.failing",
        severity="warning",
        metric="troth_traces_failing_seconds",
        breaks=_above(TRACES_SECONDS),
        says="The collector of traces takes nothing: {words}",
    ),
    Rule(
        name="watch.blind",
        severity="critical",
        metric="troth_watch_stale",
        breaks=_is_set,
        says="Nobody sees the {0} any more: {words}",
    ),
)


def judge(samples: Iterable[Sample], rules: tuple[Rule, ...] = RULES) -> tuple[Fault, ...]:
    """Pure: every rule that a sample breaks. A sample that is not there breaks nothing."""
    by_metric: dict[str, list[Rule]] = {}
    for rule in rules:
        by_metric.setdefault(rule.metric, []).append(rule)
    return tuple(
        _fault(rule, sample)
        for sample in samples
        for rule in by_metric.get(sample.metric, ())
        if rule.breaks(sample.value)
    )


def _fault(rule: Rule, sample: Sample) -> Fault:
    words = rule.says.format(*sample.labels, value=sample.value, words=sample.words)
    return Fault("/".join((rule.name, *sample.labels)), rule.name, rule.severity, words)
