"""What rehearsals found, as pages, the shell, gates and forecasts tell it."""

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from rollout.models import (
    Direction,
    Observation,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
    StepRun,
    StepState,
)
from rollout.plan import plans
from rollout.plan.actions import LockMode
from rollout.plan.expected_catalogs import expected
from rollout.plan.plan import EXPAND, ROLES, Plan
from rollout.telemetry.histograms import Histogram

MEASURED = (RehearsalState.PASSED, RehearsalState.FAILED)
_MODES = {
    "".join(word.capitalize() for word in mode.value.split()) + "Lock": mode for mode in LockMode
}


@dataclass(frozen=True)
class HeldLock:
    """A lock that was seen, with its longest hold in milliseconds; None if only waited for."""

    table: str
    mode: LockMode
    held_ms: float | None
    times: int
    waited_ms: float
    is_of_new_table: bool = False
    """Whether the step created the table, which nobody else used yet."""

    @property
    def blocks(self) -> str:
        """What others could not do meanwhile; empty where the application could do everything."""
        if self.is_of_new_table:
            return ""
        blocked = self.mode.blocks
        return "" if blocked.startswith("nothing") else blocked


@dataclass(frozen=True)
class Traffic:
    """What the application did meanwhile; times in milliseconds."""

    operations: int = 0
    errors: int = 0
    last_error: str = ""
    longest_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class StepReport:
    step: str
    description: str
    state: str
    seconds: float | None
    locks: list[HeldLock]
    traffic: Traffic
    wal: int | None
    growth: int | None
    """Bytes that all tables together grew by."""
    error: str
    key: int
    """Primary key of the step's run."""
    running_for: float | None
    """Seconds; None where it does not run."""
    waiting_for: str
    direction: str

    @property
    def title(self) -> str:
        """What it does, as the steps of a rollback are named everywhere."""
        undo = "Undo: " if self.direction == Direction.BACKWARD else ""
        return f"{undo}{self.description}"

    @property
    def longest_lock(self) -> HeldLock | None:
        return _longest(self.locks)


@dataclass(frozen=True)
class PhaseResult:
    """A phase in one direction."""

    phase: int
    role: str
    direction: str
    run: PhaseRun
    seconds: float | None
    traffic: Traffic
    steps: list[StepReport] = field(default_factory=list)
    """Those that have something to do in that direction."""

    @property
    def locks(self) -> list[HeldLock]:
        return [lock for step in self.steps for lock in step.locks]

    @property
    def longest_lock(self) -> HeldLock | None:
        return _longest(self.locks)

    @property
    def wal(self) -> int | None:
        return _sum(step.wal for step in self.steps)

    @property
    def growth(self) -> int | None:
        return _sum(step.growth for step in self.steps)


@dataclass(frozen=True)
class Report:
    """A rehearsal in full, with its phases in the order of execution."""

    rehearsal: Rehearsal
    results: list[PhaseResult]
    alone: Traffic
    """The traffic before the first phase."""

    @property
    def seconds(self) -> float | None:
        began, ended = self.rehearsal.started_at, self.rehearsal.finished_at
        return (ended - began).total_seconds() if began and ended else None

    @property
    def longest_lock(self) -> HeldLock | None:
        return _longest([lock for result in self.results for lock in result.locks])

    @property
    def longest_wait_ms(self) -> float | None:
        waits = [
            result.traffic.longest_ms
            for result in self.results
            if result.traffic.longest_ms is not None
        ]
        return max(waits, default=None)

    @property
    def operations(self) -> int:
        return sum(result.traffic.operations for result in self.results)

    @property
    def errors(self) -> int:
        return sum(result.traffic.errors for result in self.results)

    @property
    def running(self) -> StepReport | None:
        """The step that runs now."""
        steps = (step for result in self.results for step in result.steps)
        return next((step for step in steps if step.running_for is not None), None)

    @property
    def expected_runs(self) -> int:
        return 2 * (len(ROLES) - self.rehearsal.first_phase)

    @property
    def done_runs(self) -> int:
        return sum(result.run.state == "done" for result in self.results)


def of_rollout(rollout: Rollout) -> QuerySet[Rehearsal]:
    """A rollout's rehearsals, newest first, without the catalog that only their end reads."""
    return (
        Rehearsal.objects.filter(rollout=rollout)
        .select_related("environment", "rollout", "snapshot")
        .defer("before", "snapshot__crosstabs", "snapshot__contents")
    )


def report_of(rehearsal: Rehearsal) -> Report:
    """The report of a rehearsal, also while it runs."""
    plan = plans.find(rehearsal.rollout.plan)
    runs = (
        PhaseRun.objects.filter(
            rollout=rehearsal.sandbox_id,
            # What the snapshot brought along was not run here.
            phase__gte=rehearsal.first_phase,
        )
        .order_by("pk")
        .prefetch_related(Prefetch("steps", StepRun.objects.defer("began_with")), "observations")
    )
    results = []
    for run in runs:
        observed = {seen.step_run_id: seen for seen in run.observations.all()}
        results.append(
            PhaseResult(
                phase=run.phase,
                role=ROLES[run.phase],
                direction=run.direction,
                run=run,
                seconds=_seconds(run, run),
                traffic=_traffic(observed.get(None)),
                steps=[
                    _step(plan, run, row, observed.get(row.pk))
                    for row in run.steps.all()
                    if _does_something(plan, run, row)
                ],
            )
        )
    alone = rehearsal.baseline_traffic
    return Report(
        rehearsal,
        results,
        Traffic(
            alone.get("operations", 0),
            alone.get("errors", 0),
            alone.get("last_error", ""),
            alone.get("longest_ms"),
            _p99(alone.get("durations", {}), alone.get("longest_ms")),
        ),
    )


def _does_something(plan: Plan | None, run: PhaseRun, row: StepRun) -> bool:
    """Whether a step has something to do in the run's direction: many leave nothing to undo.

    One that failed is shown whatever it was to do.
    """
    if plan is None or run.direction != Direction.BACKWARD or row.error:
        return True
    with suppress(KeyError):
        return bool(plan.backward(plan.step(run.phase, row.step)).actions)
    return True


def _step(plan: Plan | None, run: PhaseRun, row: StepRun, seen: Observation | None) -> StepReport:
    description = row.step
    new = _tables_made_by(plan, run, row) if seen is not None and seen.locks else set()
    if plan is not None:
        with suppress(KeyError):
            description = plan.step(run.phase, row.step).description
    return StepReport(
        step=row.step,
        description=description,
        state=row.state,
        seconds=_seconds(run, row),
        locks=[_lock(lock, new) for lock in (seen.locks if seen else ())],
        traffic=_traffic(seen),
        wal=row.wal_bytes,
        growth=None if row.wal_bytes is None else sum(row.growth.values()),
        error=row.error,
        key=row.pk,
        running_for=_running_for(run, row),
        waiting_for=row.waiting_for,
        direction=run.direction,
    )


def _running_for(run: PhaseRun, row: StepRun) -> float | None:
    if row.state != StepState.RUNNING or row.started_at is None:
        return None
    return run.time_at_work(row.started_at, timezone.now()).total_seconds()


def _tables_made_by(plan: Plan | None, run: PhaseRun, row: StepRun) -> set[str]:
    """The tables that a step created, by their labels; later phases rename some, too."""
    if plan is None or (run.phase, run.direction) != (EXPAND, Direction.FORWARD):
        return set()
    before = [step.id for step in plan.phases[run.phase].steps]
    if row.step not in before:
        return set()
    at = before.index(row.step)
    tables, there = expected(plan, run.phase, at + 1).tables, expected(plan, run.phase, at).tables
    return tables.keys() - there.keys()


def _lock(lock: dict[str, Any], new: Container[str]) -> HeldLock:
    return HeldLock(
        lock["table"],
        _MODES[lock["mode"]],
        lock["held_ms"],
        lock["times"],
        lock["waited_ms"],
        lock["table"] in new,
    )


def _traffic(seen: Observation | None) -> Traffic:
    if seen is None:
        return Traffic()
    return Traffic(
        seen.operations,
        seen.errors,
        seen.last_error,
        seen.longest_ms,
        _p99(seen.durations, seen.longest_ms),
    )


def _p99(durations: dict[str, int], longest_ms: float | None) -> float | None:
    """In milliseconds. A bucket's estimate may be above what was measured: the longest caps it."""
    seconds = Histogram.of_json(durations).quantile(0.99)
    if seconds is None:
        return None
    return seconds * 1000 if longest_ms is None else min(seconds * 1000, longest_ms)


def _seconds(run: PhaseRun, timed: PhaseRun | StepRun) -> float | None:
    if timed.started_at is None or timed.finished_at is None:
        return None
    return run.time_at_work(timed.started_at, timed.finished_at).total_seconds()


def _longest(locks: list[HeldLock]) -> HeldLock | None:
    """The longest-held lock of those that keep the application from something."""
    blocking = [lock for lock in locks if lock.blocks and lock.held_ms is not None]
    return max(blocking, key=lambda lock: lock.held_ms or 0, default=None)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def result_of(report: Report | None, phase: int, direction: str) -> PhaseResult | None:
    """What was rehearsed of a phase in one direction, where it came to its end."""
    results = report.results if report else []
    return next(
        (
            result
            for result in results
            if (result.phase, result.direction, result.run.state) == (phase, direction, "done")
        ),
        None,
    )


@dataclass(frozen=True)
class Rehearsed:
    """A phase as the newest rehearsal ran it: a forecast."""

    rehearsal: Rehearsal
    result: PhaseResult


def forecast_of(report: Report | None, phase: int, direction: str) -> Rehearsed | None:
    """How a phase went in a rehearsal, the newest; None where it was not rehearsed."""
    result = result_of(report, phase, direction)
    return Rehearsed(report.rehearsal, result) if report and result else None


@dataclass(frozen=True)
class RehearsedTimes:
    """How many seconds each phase took in each direction in a rehearsal."""

    rehearsal: Rehearsal
    seconds: Mapping[tuple[int, str], float]

    def of(self, phase: int, direction: str) -> float | None:
        return self.seconds.get((phase, direction))

    def rollback_total(self, phase: int) -> float | None:
        """Total duration of the rollbacks down to the first rehearsed phase.

        None if one is missing, and where that is the phase itself.
        """
        numbers = range(self.rehearsal.first_phase, phase + 1)
        known = [s for n in numbers if (s := self.of(n, Direction.BACKWARD)) is not None]
        return sum(known) if len(known) == len(numbers) > 1 else None


def times_of(rehearsals: Iterable[Rehearsal], plan: Plan) -> RehearsedTimes | None:
    """The times of the first of them that measured this version of the plan."""
    of_plan = (rehearsal for rehearsal in rehearsals if rehearsal.plan_digest == plan.digest)
    newest = next((rehearsal for rehearsal in of_plan if rehearsal.state in MEASURED), None)
    if newest is None:
        return None
    runs = PhaseRun.objects.filter(
        rollout=newest.sandbox_id, phase__gte=newest.first_phase, state=RunState.DONE
    ).defer("baseline", "statement_calls")
    seconds = {(run.phase, run.direction): _seconds(run, run) for run in runs}
    return RehearsedTimes(newest, {key: s for key, s in seconds.items() if s is not None})


def newest_measured(rollout: Rollout) -> Report | None:
    """The newest rehearsal of the current plan that finished, passed or not."""
    measured = of_rollout(rollout).filter(
        plan_digest=plans.get(rollout.plan).digest,
        state__in=MEASURED,
    )
    rehearsal = measured.first()
    return report_of(rehearsal) if rehearsal else None
