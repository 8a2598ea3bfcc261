"""The figures, read from the journal and the targets at each scrape.

Nothing is kept in a process, so any number of web processes answer the same. The number of
queries is constant: a dozen of the journal, and two of each environment's database.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

import psycopg
from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rollout import gates, queue
from rollout.engine import lane_totals
from rollout.engine.lane_totals import Totals
from rollout.health.families import FAMILIES, OF_AN_OPERATION, AnyFamily
from rollout.journal import heartbeats
from rollout.journal.environments import configured, target_of
from rollout.models import (
    ACTIVE,
    AuditReport,
    AuditStatus,
    BackfillJob,
    Direction,
    Finding,
    FindingState,
    Heartbeat,
    LogEntry,
    OperationTotal,
    PhaseRun,
    Rollout,
    RuleState,
    RuleVerdict,
    RunState,
    Snapshot,
    SnapshotState,
)
from rollout.plan.plan import ROLES
from rollout.telemetry.histograms import Histogram, upper_bound
from rollout.worker.audits import code_version

CONNECT_SECONDS = 2
PENDING = "pending"
# Telemetry buckets whose upper bounds (1 ms to 10 s) are also Prometheus bounds: exact counts.
BOUNDS = {bucket: upper_bound(bucket) for bucket in range(-69, 24, 4)}

_log = logging.getLogger(__name__)


class Figures:
    """The families that are filled, by name."""

    def __init__(self) -> None:
        self._families: dict[str, AnyFamily] = {n: f.empty() for n, f in FAMILIES.items()}

    def add(self, name: str, value: float, *labels: object) -> None:
        self._families[name].add_metric([str(label) for label in labels], value)  # type: ignore[call-arg,arg-type]

    def add_histogram(
        self, name: str, histogram: Histogram, seconds: float, *labels: object
    ) -> None:
        family = self._families[name]
        assert isinstance(family, HistogramMetricFamily)
        buckets = [(f"{bound:.6g}", histogram.up_to(b)) for b, bound in BOUNDS.items()]
        family.add_metric(
            [str(label) for label in labels], [*buckets, ("+Inf", len(histogram))], seconds
        )

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())


class RolloutCollector(Collector):
    """Reads everything again at each scrape."""

    def collect(self) -> Iterable[Metric]:
        figures = Figures()
        figures.add("rollout_build_info", 1, code_version())
        # Before the journal's jobs: one that ends meanwhile is then read from the journal, whole.
        running = _lanes(figures)
        for part in (_processes, _phases, _events, _audits, _findings, _rules, _snapshots):
            part(figures)
        _jobs(figures, running)
        _operations(figures)
        return figures

    def describe(self) -> Iterable[Metric]:
        """Registering asks for names alone."""
        return [family.empty() for family in FAMILIES.values()]


def registry() -> CollectorRegistry:
    """A registry of the figures alone: those of a process would differ from one to the next."""
    made = CollectorRegistry()
    made.register(RolloutCollector())
    return made


def _lanes(figures: Figures) -> dict[int, Totals]:
    """The totals of running jobs by ID, which is unique across environments."""
    totals: dict[int, Totals] = {}
    for name in configured():
        target = target_of(name)
        parameters = {"connect_timeout": CONNECT_SECONDS, **target.parameters}
        try:
            with replace(target, parameters=parameters).connect() as connection:
                totals |= lane_totals.totals_by_job(connection)
        except psycopg.Error as error:
            _log.warning(
                "Cannot collect metrics from the database of %s: %s", name, str(error).strip()
            )
            figures.add("rollout_target_up", 0, name)
        else:
            figures.add("rollout_target_up", 1, name)
    return totals


def _processes(figures: Figures) -> None:
    alive = Count("pk", filter=Q(seen_at__gt=Now() - heartbeats.SILENCE))
    seen = {
        kind: (number, last)
        for kind, number, last in Heartbeat.objects.filter(heartbeats.plausible())
        .order_by()
        .values_list("kind")
        .annotate(alive=alive, last=Max("seen_at"))
    }
    for kind in (heartbeats.WORKER, heartbeats.WATCHDOG):
        number, last = seen.get(kind, (0, None))
        figures.add("rollout_processes", number, kind)
        if last is not None:
            figures.add("rollout_last_seen_timestamp_seconds", last.timestamp(), kind)
    try:
        figures.add("rollout_queue_messages", queue.waiting())
    except queue.BrokerUnreachable as error:
        _log.warning("Cannot collect metrics from the queue: %s", error)


def _phases(figures: Figures) -> None:
    # What is made for a while, to rehearse in, is none of what people are woken for.
    rollouts = {
        rollout.pk: (rollout.plan, rollout.environment)
        for rollout in Rollout.objects.filter(environment__in=configured())
    }
    newest = {
        (run.rollout_id, run.phase): run
        for run in PhaseRun.objects.exclude(direction=Direction.REPAIR)
        .order_by("rollout", "phase", "-id")
        .distinct("rollout", "phase")
    }
    for pk, labels in rollouts.items():
        begun = -1
        for phase in range(len(ROLES)):
            run = newest.get((pk, phase))
            untouched = gates.is_not_started(run)
            begun = begun if untouched else phase
            present = PENDING if untouched or run is None else run.state
            for state in (PENDING, *RunState.values):
                figures.add("rollout_phase_state", state == present, *labels, phase, state)
        figures.add("rollout_phase", begun, *labels)
    now = timezone.now()
    for run in PhaseRun.objects.filter(state__in=ACTIVE, rollout__in=list(rollouts)):
        seconds = (now - run.created_at).total_seconds()
        labels = rollouts[run.rollout_id]
        figures.add(
            "rollout_active_run_seconds", seconds, *labels, run.phase, run.direction, run.state
        )


def _events(figures: Figures) -> None:
    entries = LogEntry.objects.filter(environment__in=[*configured(), ""])
    counted = entries.order_by().values_list("plan", "environment", "event")
    for *labels, number in counted.annotate(number=Count("pk")):
        figures.add("rollout_events_total", number, *labels)


def _jobs(figures: Figures, running: dict[int, Totals]) -> None:
    """Passes of the same kind over a table in a phase are added up, those of a retry included."""
    sums: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    of_a_job = (
        *("step_run__run__rollout__plan", "step_run__run__rollout__environment"),
        *("step_run__run__phase", "table", "kind"),
    )
    counters = ("scanned", "updated", "rewritten", "working_seconds", "quarantined")
    every = BackfillJob.objects.filter(step_run__run__rollout__environment__in=configured())
    ended = every.order_by().exclude(finished_at=None)
    of_ended = {f"all_{counter}": Sum(counter) for counter in counters}
    for row in ended.values_list(*of_a_job).annotate(**of_ended):
        sums[tuple(row[: len(of_a_job)])] = list(row[len(of_a_job) :])
    at_work = every.filter(finished_at=None)
    for pk, *labels in at_work.values_list("pk", *of_a_job):
        totals = running.get(pk)
        if totals is None:
            continue
        own = sums[tuple(labels)]
        for place, counter in enumerate(counters):
            own[place] += getattr(totals, counter)
        figures.add("rollout_backfill_progress_ratio", totals.fraction, *labels)
        figures.add("rollout_backfill_workers", len(totals.holders), *labels)
    for key, (scanned, updated, rewritten, seconds, quarantined) in sums.items():
        figures.add("rollout_backfill_scanned_rows_total", scanned, *key)
        figures.add("rollout_backfill_updated_rows_total", updated + rewritten, *key)
        figures.add("rollout_backfill_working_seconds_total", seconds, *key)
        figures.add("rollout_backfill_quarantined_rows", quarantined, *key)


def _audits(figures: Figures) -> None:
    newest = (
        AuditReport.objects.filter(rollout__environment__in=configured())
        .exclude(status__in=(AuditStatus.RUNNING, AuditStatus.INCONCLUSIVE))
        .select_related("rollout")
        .order_by("rollout", "mode", "-id")
        .distinct("rollout", "mode")
        .defer("translations")
    )
    for report in newest:
        labels = (report.rollout.plan, report.rollout.environment, report.mode)
        for category, rows in report.categories.items():
            figures.add("rollout_audit_rows", rows, *labels, category)
        left = report.mismatched - report.waived
        figures.add("rollout_audit_mismatched_rows", left, *labels)
        if report.finished_at is not None:
            at = report.finished_at.timestamp()
            figures.add("rollout_audit_finished_timestamp_seconds", at, *labels)


def _findings(figures: Figures) -> None:
    accepted = Q(waived_until__gt=timezone.now())
    counted = (
        Finding.objects.filter(state=FindingState.OPEN)
        .order_by()
        .values_list("rollout__plan", "rollout__environment")
        .annotate(every=Count("pk"), waived=Count("pk", filter=accepted))
    )
    for *labels, every, waived in counted:
        figures.add("rollout_open_findings", every - waived, *labels, "no")
        figures.add("rollout_open_findings", waived, *labels, "yes")


def _rules(figures: Figures) -> None:
    for state in RuleState.objects.select_related("rollout"):
        labels = (state.rollout.plan, state.rollout.environment, state.rule, state.action)
        figures.add("rollout_rule_broken", state.verdict == RuleVerdict.BROKEN, *labels)
        figures.add("rollout_rule_acting", state.acting, *labels)


def _snapshots(figures: Figures) -> None:
    verified = (
        Snapshot.objects.filter(state=SnapshotState.VERIFIED)
        .order_by()
        .values_list("rollout__plan", "rollout__environment")
        .annotate(at=Max("verified_at"))
    )
    for *labels, at in verified:
        figures.add("rollout_snapshot_verified_timestamp_seconds", at.timestamp(), *labels)


def _operations(figures: Figures) -> None:
    for operation in OperationTotal.objects.all():
        labels = tuple(getattr(operation, label) for label in OF_AN_OPERATION)
        figures.add_histogram(
            "rollout_operation_duration_seconds",
            Histogram.of_json(operation.durations),
            operation.seconds,
            *labels,
        )
        figures.add("rollout_operation_errors_total", operation.errors, *labels)
        figures.add("rollout_operation_queries_total", operation.queries, *labels)
        figures.add("rollout_operation_database_seconds_total", operation.database_seconds, *labels)
