"""Carries a rehearsal out: every phase forward and back in a database of its own."""

import logging
import time
from datetime import timedelta
from typing import Any

import psycopg
from django.db import connections
from django.utils import timezone

from rollout import gates, journal, queue
from rollout.engine.control import Interrupted
from rollout.engine.rehearsal import witness
from rollout.engine.snapshot import problem
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.target import install
from rollout.gates import drift
from rollout.journal import activity_log, rollouts
from rollout.journal.actors import Refused
from rollout.journal.environments import (
    UnknownEnvironment,
    alias_of_made,
    target_of_made,
)
from rollout.journal.events import Event
from rollout.journal.moments import by_the_database
from rollout.journal.rollouts import active_run, alone_with, name_of, plan_of
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    AuditReport,
    AuditStatus,
    EnvironmentState,
    Observation,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
    Way,
)
from rollout.plan.plan import Plan
from rollout.plan.step import CONTRACT
from rollout.queries import rehearsals
from rollout.worker import databases, leases, restores, runs
from rollout.worker.leases import Lease
from rollout.worker.rehearsal_observers import FORGET_SECONDS, Notes, Observer, ObserverDied


def begin_in_rehearsal(rollout: Rollout, phase: int, way: Way, *, actor_name: str) -> PhaseRun:
    """Start a phase in the database of a rehearsal, where no gate is asked."""
    run = PhaseRun.objects.create(
        rollout=rollout,
        phase=phase,
        way=way,
        actor_name=actor_name,
        plan_digest=plan_of(rollout).digest,
        lease_until=leases.grace(),
    )
    queue.send_run(run)
    return run


_log = logging.getLogger(__name__)


_ENDED = {
    RehearsalState.PASSED: Event.REHEARSAL_PASSED,
    RehearsalState.FAILED: Event.REHEARSAL_FAILED,
    RehearsalState.CANCELLED: Event.REHEARSAL_CANCELLED,
}


MOST_ATTEMPTS = 5


ALONE_SECONDS = 1.0
"""How long the traffic is observed before the first phase, to compare with."""


BETWEEN_SECONDS = 0.4
"""How long the traffic goes on between two phases, so that it writes in every shape."""


PATIENCE = timedelta(seconds=1)
"""Other work that has waited for longer gets the worker in between."""


class RehearsalFailed(Exception):
    """The rehearsal came to an answer that is no."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class _OthersWait(Exception):
    """Somebody else's work has waited for a worker long enough."""


def carry_out(rehearsal_id: int, token: int, *, from_queue: bool = True) -> None:
    """Rehearse, or go on where another worker stopped, if the token is still the newest one."""
    rehearsal = (
        Rehearsal.objects.select_related("rollout", "snapshot__rollout", "environment", "stage")
        .filter(pk=rehearsal_id, state__in=REHEARSAL_UNDER_WAY)
        .first()
    )
    if rehearsal is None or not leases.claim(rehearsal, token):
        return
    with Lease(rehearsal, on_wait=lambda _reason: None, from_queue=from_queue) as held:
        work = _Work(rehearsal, held)
        try:
            work.carry_on()
        except _OthersWait:
            if leases.extend(rehearsal, held.token):
                queue.send_rehearsal(rehearsal)
        except Interrupted:
            work.stopped()
        except (Refused, SnapshotError, RehearsalFailed, UnknownEnvironment) as error:
            work.fail(str(error), getattr(error, "advice", ""))
        except ObserverDied as error:
            work.fail(
                f"The process that observes the rehearsal came to an end. {error}",
                "Look at the plan's traffic function, then rehearse again.",
            )
        except Exception as error:
            if held.lost or held.asked_to:
                work.stopped()
            elif runs.connection_lost(error):
                # The lease runs out, and the watchdog has the rehearsal taken up where it was.
                raise
            elif isinstance(error, psycopg.Error):
                meant = problem.of_database(error)
                work.fail(str(meant), meant.advice)
            else:
                _log.exception("Rehearsal %s", rehearsal.pk)
                work.fail(
                    f"{type(error).__name__}: {error}",
                    "Look at the worker's log, then rehearse again.",
                )


class _Work:
    """A worker's work on one rehearsal. Every write of it is fenced by the lease's token."""

    def __init__(self, rehearsal: Rehearsal, held: Lease) -> None:
        self.rehearsal = rehearsal
        self.held = held
        self.token = rehearsal.token
        self.made = rehearsal.environment

    @property
    def plan(self) -> Plan:
        return plan_of(self.rehearsal.rollout)

    def carry_on(self) -> None:
        rehearsal = self.rehearsal
        if rehearsal.state == RehearsalState.CANCELLING:
            raise Interrupted("It was cancelled before a worker went on with it.")
        if self.plan.digest != rehearsal.plan_digest:
            raise RehearsalFailed(
                "The plan is another by now: what was rehearsed would not be what is carried out.",
                "Rehearse again.",
            )
        self._write(
            attempts=rehearsal.attempts + 1, started_at=rehearsal.started_at or timezone.now()
        )
        if rehearsal.state == RehearsalState.MAKING:
            self._make()
            self._introspect()
        if rehearsal.state == RehearsalState.RUNNING:
            self._run_phases()
        self._compare()

    def _make(self) -> None:
        """The database, the snapshot in it, and the witness of what it held."""
        if self.rehearsal.attempts > MOST_ATTEMPTS:
            raise SnapshotError(
                f"{MOST_ATTEMPTS} workers died while they made its database.",
                "Look whether their machine runs out of memory or disk, then rehearse again.",
            )
        self._drop_failed_before()
        self._write(doing=f"Making the database {self.made.database}.")
        target = databases.make(self.made)
        snapshot, stage = self.rehearsal.snapshot, self.rehearsal.stage
        restores.put_back(
            snapshot, stage, target, self.held, tell=lambda doing: self._write(doing=doing)
        )
        restores.gather_statistics(stage, target)
        self._write(doing="Copying the tables, to compare with them in the end.")
        with target.connect() as connection:
            install(connection)
            self.held.using(connection)
            before = witness.fingerprint(connection, self.plan)
            witness.begin(connection, self.plan)

        def is_ready() -> None:
            self._write(state=RehearsalState.RUNNING, before=before, doing="")
            databases.is_ready(self.made)

        restores.note(
            snapshot, stage, actor=self.rehearsal.actor_name, source="worker", done=is_ready
        )

    def _introspect(self) -> None:
        """Raises RehearsalFailed where the schema is not what the plan expects there."""
        rehearsal = self.rehearsal
        stage, first = rehearsal.stage, rehearsal.first_phase
        run = gates.newest_runs(stage).get(first)
        answer, message = drift.answer(stage, self.plan, first, run, steps_done=None)
        if answer != "pass":
            raise RehearsalFailed(
                f"Its schema was looked at: {message}",
                "Look at the schema's page of production, mend what differs, take another "
                "snapshot, and rehearse again.",
            )

    def _drop_failed_before(self) -> None:
        others = Rehearsal.objects.filter(
            rollout=self.rehearsal.rollout,
            state=RehearsalState.FAILED,
            keep=False,
            environment__state=EnvironmentState.READY,
        ).exclude(pk=self.rehearsal.pk)
        for other in others.select_related("environment"):
            databases.drop(other.environment)

    def _run_phases(self) -> None:
        """Each phase there and, the newest first, back, while the traffic goes on."""
        with Observer(
            self.plan,
            target=target_of_made(self.made).parameters,
            database=connections.databases[alias_of_made(self.made)],
            seed=self.rehearsal.pk,
        ) as observer:
            self._write(doing="Starting the traffic.")
            observer.wait_until_ready(self.held)
            if not self.rehearsal.alone:
                began = time.time()
                self._wait(ALONE_SECONDS)
                self._write(alone=observer.seen(began, time.time()).as_fields())
            notes = Notes(observer)
            while (leg := self._next_leg()) is not None:
                run = self._begin(*leg)
                self._write(doing="")
                self._carry_on_with(run, observer, notes)
                self._wait(BETWEEN_SECONDS)
                observer.check()
                # What was told late counts too.
                notes.write(run)
                observer.forget_before(time.time() - FORGET_SECONDS)
                if self._others_wait():
                    raise _OthersWait
            if observer.look_seconds is not None:
                self._write(look_ms=round(observer.look_seconds * 1000, 2))
        self._write(state=RehearsalState.COMPARING)

    def _next_leg(self) -> tuple[int, Way] | None:
        """The phase that is due and its way; None when all of it is there and back."""
        runs = gates.newest_runs(self.rehearsal.stage)
        phases = range(self.rehearsal.first_phase, CONTRACT + 1)
        turned = any(run.way == Way.BACKWARD for n, run in runs.items() if n in phases)
        if not turned:
            for number in phases:
                if not gates.is_done(runs.get(number)):
                    return number, Way.FORWARD
        for number in reversed(phases):
            if not gates.is_untouched(runs.get(number)):
                return number, Way.BACKWARD
        return None

    def _begin(self, phase: int, way: Way) -> PhaseRun:
        """Start a phase without asking its gates; or find the run that is under way already."""
        stage = self.rehearsal.stage
        with alone_with(stage):
            run = gates.newest_runs(stage).get(phase)
            if run is not None and run.way == way and run.state != RunState.DONE:
                return run
            return begin_in_rehearsal(stage, phase, way, actor_name=self.rehearsal.actor_name)

    def _carry_on_with(self, run: PhaseRun, observer: Observer, notes: Notes) -> None:
        """Bring a run to its end, by this worker or another one. Raises RehearsalFailed."""
        began_here = False
        while True:
            self.held.check()
            observer.check()
            run.refresh_from_db()
            if not run.active:
                break
            if began_here and self._others_wait():
                raise _OthersWait
            self._write(doing=_doing(run))
            if run.state in (RunState.QUEUED, RunState.RUNNING):
                # The queue has its message too: whoever claims it first goes on with it.
                runs.advance(run.pk, run.token)
                began_here = True
            self.held.check()
            notes.write(run)
            run.refresh_from_db()
            if run.active:
                self._wait(0.1)
        notes.write(run)
        if run.state == RunState.DONE:
            return
        what = name_of(run)
        if run.state == RunState.CANCELLED:
            raise RehearsalFailed(
                f"The {what} was cancelled in {self.made.name}.", "Rehearse again."
            )
        raise RehearsalFailed(
            f"{what[0].upper() + what[1:]} failed: {run.error}",
            f"{run.advice} Its database {self.made.database} is there for a look.",
        )

    def _compare(self) -> None:
        """Raises RehearsalFailed where something did not come back the same, or was refused."""
        self._write(doing="Comparing every row and the catalog with what they were.")
        with target_of_made(self.made).connect() as connection:
            self.held.using(connection)
            verdict = witness.end(connection, self.plan, self.rehearsal.before)
        self._write(
            catalog_differences=verdict.catalog,
            data_differences=verdict.data,
            untouched_rows=verdict.untouched,
            written_rows=verdict.written,
            compared_at=timezone.now(),
        )
        wrong, advice = [], []
        if verdict.catalog or verdict.data:
            first = " ".join([*verdict.catalog, *verdict.data][:3])
            wrong.append(f"It did not come back the same: {first}")
            advice.append("Correct the rollback of the step that leaves this.")
        if failed := self._failed_operations():
            wrong.append(failed)
            advice.append("Let the application work in every shape of the tables.")
        if wrong:
            raise RehearsalFailed(
                " ".join(wrong),
                f"{' '.join(advice)} Then rehearse again. Its database {self.made.database} is "
                "there for a look.",
            )
        self._end(RehearsalState.PASSED, "", "", drop=not self.rehearsal.keep)

    def _failed_operations(self) -> str:
        """How many operations of the traffic failed, and one of them; empty where none did."""
        failed = list(
            Observation.objects.filter(
                run__rollout=self.rehearsal.stage, step_run=None, errors__gt=0
            ).select_related("run")
        )
        if not failed:
            return ""
        return (
            f"{sum(each.errors for each in failed):,} operations of the application failed, in "
            f"{name_of(failed[0].run)} for example: {failed[0].last_error}"
        )

    def fail(self, error: str, advice: str) -> None:
        """Write down why; the database stays where there is something in it to look at."""
        self._end(
            RehearsalState.FAILED,
            error,
            advice,
            drop=self.made.state != EnvironmentState.READY,
        )

    def stopped(self) -> None:
        """It was cancelled, or is another worker's now."""
        mine = Rehearsal.objects.filter(pk=self.rehearsal.pk, token=self.token)
        if mine.filter(state=RehearsalState.CANCELLING).exists():
            self._end(RehearsalState.CANCELLED, "", "", drop=True)

    def _end(self, state: RehearsalState, error: str, advice: str, *, drop: bool) -> None:
        self._end_what_is_left()
        report = rehearsals.report_of(self.rehearsal)
        lock = report.longest_lock
        if drop:
            try:
                databases.drop(self.made)
            except (psycopg.Error, UnknownEnvironment) as left:
                advice = f"{advice} Its database {self.made.database} is left: {left}".strip()
        with journal.atomic():
            mine = Rehearsal.objects.filter(pk=self.rehearsal.pk, token=self.token)
            if not mine.update(
                state=state,
                error=error,
                advice=advice,
                doing="",
                finished_at=by_the_database(),
                longest_lock_ms=lock.held_ms if lock else None,
                longest_wait_ms=report.longest_wait_ms,
            ):
                return
            self.rehearsal.refresh_from_db()
            activity_log.record(
                _ENDED[state],
                f"Rehearsal {self.rehearsal.pk} {state}. {error} {advice}".strip(),
                actor=activity_log.last_actor(
                    Event.REHEARSAL_CANCEL_ASKED_FOR,
                    rollout=self.rehearsal.rollout,
                    rehearsal=self.rehearsal.pk,
                )
                if state == RehearsalState.CANCELLED
                else self.rehearsal.actor_name,
                source="worker",
                rollout=self.rehearsal.rollout,
                data={
                    "rehearsal": self.rehearsal.pk,
                    "snapshot": self.rehearsal.snapshot_id,
                    "plan_digest": self.rehearsal.plan_digest,
                },
            )

    def _end_what_is_left(self) -> None:
        """A run that stands still because the rehearsal does has no worker any more."""
        run = active_run(self.rehearsal.stage)
        if run is not None:
            leases.take_back(run)
            PhaseRun.objects.filter(pk=run.pk).update(
                state=RunState.CANCELLED, finished_at=timezone.now(), lease_until=None
            )
        AuditReport.objects.filter(rollout=self.rehearsal.stage, status=AuditStatus.RUNNING).update(
            status=AuditStatus.INCONCLUSIVE,
            message="The rehearsal came to its end before the audit did.",
            finished_at=timezone.now(),
        )

    def _others_wait(self) -> bool:
        """Whether another rollout's phase has waited for a worker for a while."""
        return (
            PhaseRun.objects.filter(
                state=RunState.QUEUED, created_at__lt=timezone.now() - PATIENCE, started_at=None
            )
            .exclude(rollout=self.rehearsal.stage)
            .exists()
        )

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.held.check()
            time.sleep(min(left, 0.1))

    def _write(self, **fields: Any) -> None:
        """Raises Interrupted where it was cancelled, or is another worker's by now."""
        mine = Rehearsal.objects.filter(pk=self.rehearsal.pk, token=self.token).exclude(
            state=RehearsalState.CANCELLING
        )
        if not mine.update(**fields):
            raise Interrupted("It was cancelled, or another worker has taken it over.")
        for name, value in fields.items():
            setattr(self.rehearsal, name, value)


def _doing(run: PhaseRun) -> str:
    if run.state == RunState.PAUSED:
        return f"{rollouts.sentence_name_of(run)} is paused. Resume it on its page."
    return ""
