"""Runs a rehearsal: every phase forward and back in a database of its own."""

import time
from datetime import timedelta
from typing import Any, ClassVar

import psycopg
from django.db import connections
from django.utils import timezone

from rollout import gates, queue
from rollout.engine.control import Interrupted, pause
from rollout.engine.rehearsal import fingerprints
from rollout.engine.snapshot.failures import SnapshotError
from rollout.engine.target import install
from rollout.gates import drift
from rollout.journal import heartbeats
from rollout.journal.actors import Refused
from rollout.journal.environments import (
    UnknownEnvironment,
    alias_of_made,
    target_of_made,
)
from rollout.journal.events import Event
from rollout.journal.rollouts import active_run, alone_with, plan_of
from rollout.journal.transitions import move
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    Direction,
    EnvironmentState,
    Observation,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
)
from rollout.plan.errors import RolloutError
from rollout.plan.plan import CONTRACT, Plan
from rollout.queries import rehearsals
from rollout.worker import audits, databases, leases, restores, runs
from rollout.worker.failures import connection_lost
from rollout.worker.leased_jobs import AttemptedJob
from rollout.worker.rehearsal_observers import (
    FORGET_SECONDS,
    READY_SECONDS,
    Notes,
    Observer,
    ObserverDied,
    Sums,
)


def begin_in_rehearsal(
    rollout: Rollout, phase: int, direction: Direction, *, actor_name: str
) -> PhaseRun:
    """Start a phase in the database of a rehearsal, where no gate is asked."""
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        direction=direction,
        actor_name=actor_name,
        plan_digest=plan_of(rollout).digest,
        lease_until=leases.grace(),
    )
    queue.send_work(run)
    return run


# How long the traffic is observed before the first phase, to compare with.
BASELINE_SECONDS = 1.0
# How long the traffic runs between two phases, so that it writes in every mode.
BETWEEN_SECONDS = 0.4
# Other work that has waited for longer gets the worker in between.
MAX_WAIT = timedelta(seconds=1)


class RehearsalFailed(RolloutError):
    """The rehearsal found a failure."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


# No RolloutError: it is control flow, caught where the rehearsal lets others go first.
class _OthersWait(Exception):
    """Other work has waited for a worker long enough."""


class RehearsalJob(AttemptedJob[Rehearsal]):
    """Rehearses, or resumes where another worker stopped."""

    model = Rehearsal
    working = REHEARSAL_UNDER_WAY
    related = ("rollout", "snapshot__rollout", "environment", "sandbox")
    expected_errors = (Refused, SnapshotError, RehearsalFailed, UnknownEnvironment, ObserverDied)
    ends: ClassVar = {
        RehearsalState.PASSED: Event.REHEARSAL_PASSED,
        RehearsalState.FAILED: Event.REHEARSAL_FAILED,
        RehearsalState.CANCELLED: Event.REHEARSAL_CANCELLED,
    }
    cancel_asked = Event.REHEARSAL_CANCEL_ASKED_FOR
    max_attempts = 5
    again = "rehearse again"

    def __init__(self, rehearsal: Rehearsal) -> None:
        super().__init__(rehearsal)
        self.rehearsal = rehearsal
        self.made = rehearsal.environment

    @property
    def plan(self) -> Plan:
        return plan_of(self.rehearsal.rollout)

    def work(self) -> bool:
        rehearsal = self.rehearsal
        if rehearsal.state == RehearsalState.CANCELLING:
            raise Interrupted("Cancelled before a worker resumed it.")
        if self.plan.digest != rehearsal.plan_digest:
            raise RehearsalFailed(
                "The plan changed during the rehearsal.",
                "Rehearse again.",
            )
        rehearsal.started_at = rehearsal.started_at or timezone.now()
        self.count_attempt(started_at=rehearsal.started_at)
        if rehearsal.state == RehearsalState.MAKING:
            self._make()
            self._introspect()
        if rehearsal.state == RehearsalState.RUNNING:
            try:
                self._run_phases()
            except _OthersWait:
                return False
        self._compare()
        return True

    def done(self) -> None:
        self.end(RehearsalState.PASSED)

    def is_left_open_by(self, error: Exception) -> bool:
        return not self.is_to_stop and connection_lost(error)

    def explained(self, error: Exception) -> tuple[str, str]:
        if isinstance(error, ObserverDied):
            return (
                f"The rehearsal's observer stopped. {error}",
                "Check the plan's traffic function, then rehearse again.",
            )
        return super().explained(error)

    def _make(self) -> None:
        """The database, the snapshot in it, and the witness of what it held."""
        self.refuse_more_attempts("while creating its database")
        self._drop_failed_before()
        self.tell(f"Creating the database {self.made.database}.")
        target = databases.make(self.made)
        snapshot, sandbox = self.rehearsal.snapshot, self.rehearsal.sandbox
        restores.put_back(snapshot, sandbox, target, self.lease, tell=self.tell)
        restores.gather_statistics(sandbox, target)
        self.tell("Copying the tables for comparison.")
        with target.connect() as connection:
            install(connection)
            self.lease.attach(connection)
            before = fingerprints.fingerprint(connection, self.plan)
            fingerprints.begin(connection, self.plan)

        def is_ready() -> None:
            self.write(RehearsalState.RUNNING, before=before, activity="")
            databases.is_ready(self.made)

        restores.note(
            snapshot, sandbox, actor=self.rehearsal.actor_name, source="worker", done=is_ready
        )

    def _introspect(self) -> None:
        """Raises RehearsalFailed if the schema is not what the plan expects."""
        rehearsal = self.rehearsal
        sandbox, first = rehearsal.sandbox, rehearsal.first_phase
        run = gates.newest_runs(sandbox).get(first)
        schema = drift.check_schema(sandbox, self.plan, first, run, steps_done=None)
        if schema.status != "pass":
            raise RehearsalFailed(
                f"Schema check: {schema.message}",
                "Fix the schema drift in production, take a new snapshot, and rehearse again.",
            )

    def _drop_failed_before(self) -> None:
        others = Rehearsal.objects.filter(
            rollout=self.rehearsal.rollout,
            state=RehearsalState.FAILED,
            keep_database=False,
            environment__state=EnvironmentState.READY,
        ).exclude(pk=self.rehearsal.pk)
        for other in others.select_related("environment"):
            databases.drop(other.environment)

    def _run_phases(self) -> None:
        """Run every phase and roll each back, newest first, while the traffic runs."""
        with Observer(
            self.plan,
            target=target_of_made(self.made).parameters,
            database=connections.databases[alias_of_made(self.made)],
            seed=self.rehearsal.pk,
        ) as observer:
            # Who takes a rehearsal over finds a run begun, which continues once there is traffic.
            has_begun = bool(gates.newest_runs(self.rehearsal.sandbox))
            self.tell("Restarting the traffic." if has_begun else "Starting the traffic.")
            observer.wait_until_ready(self.lease)
            if not self.rehearsal.baseline_traffic:
                self.write(baseline_traffic=self._traffic_alone(observer).as_fields())
            notes = Notes(observer)
            while (due := self._next_phase()) is not None:
                run = self._begin(*due)
                self.tell("")
                self._carry_on_with(run, observer, notes)
                ended_at = time.time()
                pause(BETWEEN_SECONDS, self.lease)
                observer.wait_until_told(ended_at, self.lease)
                notes.write(run)
                observer.forget_before(time.time() - FORGET_SECONDS)
                if self._others_wait():
                    raise _OthersWait
            if observer.look_seconds is not None:
                self.write(lock_poll_ms=round(observer.look_seconds * 1000, 2))
        self.write(RehearsalState.COMPARING)

    def _traffic_alone(self, observer: Observer) -> Sums:
        """What the application does without a phase. On a busy machine it takes a while to come."""
        began = time.time()
        while True:
            pause(BASELINE_SECONDS, self.lease)
            observer.check()
            seen = observer.seen(began, time.time())
            if seen.operations or time.time() - began > READY_SECONDS:
                return seen

    def _next_phase(self) -> tuple[int, Direction] | None:
        """The next phase and its direction; None once all are rolled back."""
        runs = gates.newest_runs(self.rehearsal.sandbox)
        phases = range(self.rehearsal.first_phase, CONTRACT + 1)
        turned = any(run.direction == Direction.BACKWARD for n, run in runs.items() if n in phases)
        if not turned:
            for number in phases:
                if not gates.is_done(runs.get(number)):
                    return number, Direction.FORWARD
        for number in reversed(phases):
            if not gates.is_not_started(runs.get(number)):
                return number, Direction.BACKWARD
        return None

    def _begin(self, phase: int, direction: Direction) -> PhaseRun:
        """Start a phase without asking its gates, or find its active run."""
        sandbox = self.rehearsal.sandbox
        with alone_with(sandbox):
            run = gates.newest_runs(sandbox).get(phase)
            if run is not None and run.direction == direction and run.state != RunState.DONE:
                return run
            return begin_in_rehearsal(
                sandbox, phase, direction, actor_name=self.rehearsal.actor_name
            )

    def _carry_on_with(self, run: PhaseRun, observer: Observer, notes: Notes) -> None:
        """Wait for a run's end, working on it meanwhile. Raises RehearsalFailed."""
        began_here = False
        while True:
            self.lease.raise_if_stopped()
            observer.check()
            run.refresh_from_db()
            if not run.active:
                break
            if began_here and self._others_wait():
                raise _OthersWait
            self.tell(_doing(run))
            # The queue has its message too. What another worker claimed first is that worker's,
            # until the watchdog takes it back from a dead one.
            free = run.worker in ("", heartbeats.process_name())
            if free and run.state in (RunState.QUEUED, RunState.RUNNING):
                runs.RunJob.carry_out(run.pk, run.token)
                began_here = True
            self.lease.raise_if_stopped()
            notes.write(run)
            run.refresh_from_db()
            if run.active:
                pause(0.1, self.lease)
        notes.write(run)
        if run.state == RunState.DONE:
            return
        if run.state == RunState.CANCELLED:
            raise RehearsalFailed(
                f"{run.title} was cancelled in {self.made.name}.", "Rehearse again."
            )
        raise RehearsalFailed(
            f"{run.title} failed: {run.error}",
            f"{run.advice} Database {self.made.database} is kept for inspection.",
        )

    def _compare(self) -> None:
        """Raises RehearsalFailed if the rollback left differences, or an operation failed."""
        self.tell("Comparing data and schema with the original.")
        with target_of_made(self.made).connect() as connection:
            self.lease.attach(connection)
            verdict = fingerprints.end(connection, self.plan, self.rehearsal.before)
        self.write(
            catalog_differences=verdict.catalog,
            data_differences=verdict.data,
            untouched_rows=verdict.untouched,
            written_rows=verdict.written,
            compared_at=timezone.now(),
        )
        wrong, advice = [], []
        if verdict.catalog or verdict.data:
            first = " ".join([*verdict.catalog, *verdict.data][:3])
            wrong.append(f"The rollback left differences: {first}")
            advice.append("Fix the rollback of the step that leaves them.")
        if failed := self._failed_operations():
            wrong.append(failed)
            advice.append("Fix the application so that it works in every mode.")
        if wrong:
            raise RehearsalFailed(
                " ".join(wrong),
                f"{' '.join(advice)} Then rehearse again. Database {self.made.database} is kept "
                "for inspection.",
            )

    def _failed_operations(self) -> str:
        """How many operations of the traffic failed, and one of them; empty where none did."""
        failed = list(
            Observation.objects.filter(
                run__rollout=self.rehearsal.sandbox, step_run=None, errors__gt=0
            ).select_related("run")
        )
        if not failed:
            return ""
        errors = sum(observation.errors for observation in failed)
        return (
            f"{errors:,} application operations failed, for example in "
            f"{failed[0].run.name}: {failed[0].last_error}"
        )

    def cleared_up(self, state: str, advice: str) -> dict[str, Any]:
        """Drop its database, unless it must be kept or inspected."""
        self._end_what_is_left()
        report = rehearsals.report_of(self.rehearsal)
        lock = report.longest_lock
        kept = {
            RehearsalState.PASSED: self.rehearsal.keep_database,
            RehearsalState.FAILED: self.made.state == EnvironmentState.READY,
        }
        if not kept.get(RehearsalState(state)):
            try:
                databases.drop(self.made)
            except (psycopg.Error, UnknownEnvironment) as left:
                advice = f"{advice} Could not drop database {self.made.database}: {left}".strip()
        return {
            "advice": advice,
            "longest_lock_ms": lock.held_ms if lock else None,
            "longest_wait_ms": report.longest_wait_ms,
        }

    def log_message(self, text: str) -> str:
        return f"{self.rehearsal.title} {self.rehearsal.state}. {text}".strip()

    def log_data(self) -> dict[str, Any]:
        return {"plan_digest": self.rehearsal.plan_digest}

    def _end_what_is_left(self) -> None:
        """Cancel the run that ended with the rehearsal."""
        run = active_run(self.rehearsal.sandbox)
        if run is not None:
            leases.take_back(run)
            move(run, RunState.CANCELLED, lease_until=None)
        audits.give_up(
            "The rehearsal ended before the audit finished.", rollout=self.rehearsal.sandbox
        )

    def _others_wait(self) -> bool:
        """Whether another rollout's phase has waited for a worker for a while."""
        return (
            PhaseRun.objects.filter(
                state=RunState.QUEUED, created_at__lt=timezone.now() - MAX_WAIT, started_at=None
            )
            .exclude(rollout=self.rehearsal.sandbox)
            .exists()
        )


def _doing(run: PhaseRun) -> str:
    if run.state == RunState.PAUSED:
        return f"{run.title} is paused. Resume it on its page."
    return ""
