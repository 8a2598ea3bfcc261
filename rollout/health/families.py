"""The names and labels of the figures: what dashboards and alerts may count on.

docs/metrics.md says the same for people; a test compares the two.
"""

from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

OF_A_ROLLOUT = ("plan", "environment")
OF_A_PHASE = (*OF_A_ROLLOUT, "phase")
OF_A_JOB = (*OF_A_PHASE, "table", "kind")
OF_AN_OPERATION = ("operation", "read_mode", "write_mode")

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
        Family("rollout_build_info", "gauge", "1, with the version that answers.", ("version",)),
        Family(
            "rollout_target_up",
            "gauge",
            "Whether an environment's database answered this scrape.",
            ("environment",),
        ),
        Family(
            "rollout_processes",
            "gauge",
            "Processes that were seen in the last 12 seconds; a worker is a process that carried "
            "out a task.",
            ("kind",),
        ),
        Family(
            "rollout_last_seen_timestamp_seconds",
            "gauge",
            "When any process of a kind was last seen.",
            ("kind",),
        ),
        Family("rollout_queue_messages", "gauge", "Messages that wait in the queue."),
        Family(
            "rollout_events_total",
            "counter",
            "Entries of the audit log.",
            (*OF_A_ROLLOUT, "event"),
        ),
        Family(
            "rollout_phase",
            "gauge",
            "The newest phase of which something remains; -1 before the first.",
            OF_A_ROLLOUT,
        ),
        Family(
            "rollout_phase_state",
            "gauge",
            "1 for the state that a phase is in, 0 for the others.",
            (*OF_A_PHASE, "state"),
        ),
        Family(
            "rollout_active_run_seconds",
            "gauge",
            "How long the active run of a phase or repair has been there; absent without one.",
            (*OF_A_PHASE, "way", "state"),
        ),
        Family(
            "rollout_backfill_scanned_rows_total",
            "counter",
            "Rows that passes over a table have read.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_updated_rows_total",
            "counter",
            "Rows that passes over a table have written.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_working_seconds_total",
            "counter",
            "Time in batches, rests left out, added up over workers.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_quarantined_rows",
            "gauge",
            "Rows that the database refused and that wait in quarantine.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_progress_ratio",
            "gauge",
            "Share of the table's blocks that the job at work has gone through, from 0 to 1.",
            OF_A_JOB,
        ),
        Family(
            "rollout_backfill_workers",
            "gauge",
            "Workers that hold lanes of the job at work.",
            OF_A_JOB,
        ),
        Family(
            "rollout_audit_rows",
            "gauge",
            "Rows of the newest finished audit by category; they add up to the rows compared.",
            (*OF_A_ROLLOUT, "mode", "category"),
        ),
        Family(
            "rollout_audit_mismatched_rows",
            "gauge",
            "Rows that mismatched in the newest finished audit, accepted ones left out.",
            (*OF_A_ROLLOUT, "mode"),
        ),
        Family(
            "rollout_audit_finished_timestamp_seconds",
            "gauge",
            "When the newest audit that came to a verdict was finished.",
            (*OF_A_ROLLOUT, "mode"),
        ),
        Family(
            "rollout_open_findings",
            "gauge",
            "Mismatching rows that are not repaired, accepted ones told apart.",
            (*OF_A_ROLLOUT, "waived"),
        ),
        Family(
            "rollout_rule_broken",
            "gauge",
            "Whether a rule of the plan is broken at present.",
            (*OF_A_ROLLOUT, "rule", "action"),
        ),
        Family(
            "rollout_rule_acting",
            "gauge",
            "Whether what a rule does about it is in force.",
            (*OF_A_ROLLOUT, "rule", "action"),
        ),
        Family(
            "rollout_snapshot_verified_timestamp_seconds",
            "gauge",
            "When the newest snapshot that is kept was verified.",
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
            "Operations that failed.",
            OF_AN_OPERATION,
        ),
        Family(
            "rollout_operation_queries_total",
            "counter",
            "Queries of operations.",
            OF_AN_OPERATION,
        ),
        Family(
            "rollout_operation_database_seconds_total",
            "counter",
            "Time of operations in the database.",
            OF_AN_OPERATION,
        ),
    )
}
