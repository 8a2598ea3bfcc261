"""The names and labels of metrics, which dashboards and alerts may rely on.

docs/metrics.md says the same for people; a test compares the two.
"""

from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

OF_A_ROLLOUT = ("plan", "environment")
OF_A_PHASE = (*OF_A_ROLLOUT, "phase")
OF_A_JOB = (*OF_A_PHASE, "table", "kind")
OF_AN_OPERATION = ("operation", "plan", "read_mode", "write_mode")

Kind = Literal["counter", "gauge", "histogram"]
AnyFamily = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_CLASSES: dict[Kind, type[AnyFamily]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


@dataclass(frozen=True)
class Family:
    """One name. A counter's ends in _total."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    def empty(self) -> AnyFamily:
        return _CLASSES[self.kind](self.name, self.help, labels=self.labels)


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "rollout_build_info",
            "gauge",
            "Always 1; the label is the version of the app.",
            ("version",),
        ),
        Family(
            "rollout_target_up",
            "gauge",
            "Whether an environment's database answered this scrape.",
            ("environment",),
        ),
        Family(
            "rollout_processes",
            "gauge",
            "Live processes, seen in the last 12 seconds; a worker is a process that has run a "
            "task.",
            ("kind",),
        ),
        Family(
            "rollout_last_seen_timestamp_seconds",
            "gauge",
            "When a process of this kind was last seen.",
            ("kind",),
        ),
        Family("rollout_queue_messages", "gauge", "Messages waiting in the queue."),
        Family(
            "rollout_events_total",
            "counter",
            "Entries of the activity log.",
            (*OF_A_ROLLOUT, "event"),
        ),
        Family(
            "rollout_phase",
            "gauge",
            "The newest phase that has started and is not rolled back; -1 before the first.",
            OF_A_ROLLOUT,
        ),
        Family(
            "rollout_phase_state",
            "gauge",
            "1 for the current state of a phase, 0 for the other states.",
            (*OF_A_PHASE, "state"),
        ),
        Family(
            "rollout_active_run_seconds",
            "gauge",
            "Time since the active run of a phase or repair was created; absent without one.",
            (*OF_A_PHASE, "direction", "state"),
        ),
        Family(
            "rollout_backfill_scanned_rows_total",
            "counter",
            "Rows read by backfill jobs.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_updated_rows_total",
            "counter",
            "Rows written by backfill jobs.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_working_seconds_total",
            "counter",
            "Time in batches without throttle pauses, summed over workers.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_quarantined_rows",
            "gauge",
            "Rejected rows in quarantine.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_progress_ratio",
            "gauge",
            "Share of the table's blocks processed by the running job, from 0 to 1.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_workers",
            "gauge",
            "Workers that hold lanes of the running job.",
            OF_A_JOB,
        ),
        Family(
            "rollout_audit_rows",
            "gauge",
            "Rows of the newest finished audit by category; the categories add up to the rows "
            "compared.",
            (*OF_A_ROLLOUT, "mode", "category"),
        ),
        Family(
            "rollout_audit_mismatched_rows",
            "gauge",
            "Mismatched rows of the newest finished audit, without waived ones.",
            (*OF_A_ROLLOUT, "mode"),
        ),
        Family(
            "rollout_audit_finished_timestamp_seconds",
            "gauge",
            "When the newest audit with a result finished.",
            (*OF_A_ROLLOUT, "mode"),
        ),
        Family(
            "rollout_open_findings",
            "gauge",
            "Mismatched rows not yet repaired, waived ones separately.",
            (*OF_A_ROLLOUT, "waived"),
        ),
        Family(
            "rollout_rule_broken",
            "gauge",
            "Whether a guardrail of the plan is breached now.",
            (*OF_A_ROLLOUT, "rule", "action"),
        ),
        Family(
            "rollout_rule_acting",
            "gauge",
            "Whether the action of a guardrail is in force.",
            (*OF_A_ROLLOUT, "rule", "action"),
        ),
        Family(
            "rollout_snapshot_verified_timestamp_seconds",
            "gauge",
            "When the newest available snapshot was verified.",
            OF_A_ROLLOUT,
        ),
        Family(
            "rollout_operation_duration_seconds",
            "histogram",
            "Duration of the application's operations.",
            OF_AN_OPERATION,
        ),
        Family(
            "rollout_operation_errors_total",
            "counter",
            "Failed operations.",
            OF_AN_OPERATION,
        ),
        Family(
            "rollout_operation_queries_total",
            "counter",
            "Database queries of operations.",
            OF_AN_OPERATION,
        ),
        Family(
            "rollout_operation_database_seconds_total",
            "counter",
            "Time that operations spent in the database.",
            OF_AN_OPERATION,
        ),
    )
}
