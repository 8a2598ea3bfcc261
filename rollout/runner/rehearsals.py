"""Rehearses a plan in a database of its own, there and back; the only writer of its state.

A rehearsal is a run of its own kind: its phases are started one after the other by the worker that
holds it, without gates, approvals, soak or windows, which all protect people and data that this
database does not have. Everything else is as in production: the same steps, journal, queue and
workers.
"""

import logging
import time
from datetime import timedelta
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils import timezone

from rollout import drift, gates, journal, log, queue, rehearsals
from rollout.engine.control import Interrupted
from rollout.engine.preflight import Item, load
from rollout.engine.rehearsal import witness
from rollout.engine.snapshot import problem
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.target import install
from rollout.environments import (
    UnknownEnvironment,
    alias_of_made,
    target_of,
    target_of_made,
    target_of_server,
)
from rollout.events import Event
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    AuditReport,
    AuditStatus,
    Environment,
    EnvironmentState,
    Observation,
    PhaseRun,
    Rehearsal,
    RehearsalState,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
    Way,
)
from rollout.plan.plan import Plan
from rollout.plan.step import CONTRACT
from rollout.rehearsal_servers import SETTING, rehearsal_server
from rollout.runner import execution, lease, restoring, staging, verbs
from rollout.runner.lease import Lease
from rollout.runner.observing import FORGET_SECONDS, Notes, Observer, ObserverDied
from rollout.runner.verbs import (
    Actor,
    Refused,
    active_run,
    alone_with,
    name_of,
    plan_of,
    refuse_out_of_reach,
)
from rollout.snapshots import newest_verified

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
COPIES = 2
"""Of the plan's tables: the rehearsal's, and those that it compares with in the end."""
CONNECT_SECONDS = 5
PATIENCE = timedelta(seconds=1)
"""Other work that has waited for longer gets the worker in between."""

_log = logging.getLogger(__name__)


class RehearsalFailed(Exception):
    """The rehearsal came to an answer that is no."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.advice = advice


class UnderLoad(Refused):
    """The server that a rehearsal would share has enough to do; people may decide otherwise."""

    def __init__(self, items: list[Item]) -> None:
        said = " ".join(f"{item.name.capitalize()}: {item.evidence}" for item in items)
        super().__init__(
            "The rehearsal would share processor and disk with the application, and its server is "
            f"under load. {said} Wait until that is over, name another server in {SETTING}, or "
            "rehearse anyway."
        )
        self.items = items


class _OthersWait(Exception):
    """Somebody else's work has waited for a worker long enough."""


def why_not_rehearse(rollout: Rollout, snapshot: Snapshot | None) -> str:
    """Why a rollout cannot be rehearsed now, with what to do about it; empty where it can."""
    under_way = Rehearsal.objects.filter(rollout=rollout, state__in=REHEARSAL_UNDER_WAY).first()
    if under_way is not None:
        return (
            f"{under_way.actor_name}'s rehearsal {under_way.pk} is under way. Wait for its end, or "
            "cancel it."
        )
    if snapshot is None:
        return "A rehearsal begins with a snapshot that was verified. Take one first."
    if snapshot.state != SnapshotState.VERIFIED:
        return f"Snapshot {snapshot.pk} is not verified. Verify it, or take another."
    if "begun" in snapshot.phases:
        return (
            f"Snapshot {snapshot.pk} was taken in the middle of a phase. Bring that to its end, "
            "then take another snapshot."
        )
    if _first_phase(snapshot) > CONTRACT:
        return (
            f"Every phase was done when snapshot {snapshot.pk} was taken: nothing is left to "
            "rehearse. Choose an older one."
        )
    return ""


def _first_phase(snapshot: Snapshot) -> int:
    return next(
        (number for number, was in enumerate(snapshot.phases) if was != "done"), CONTRACT + 1
    )


def rehearse(
    rollout: Rollout,
    *,
    snapshot: Snapshot | None = None,
    keep: bool = False,
    anyway: bool = False,
    actor: Actor,
    source: str = "web",
) -> Rehearsal:
    """Ask for a rehearsal from a snapshot, else from the newest verified one.

    The database of one that failed before goes, unless it is to be kept. On production's server it
    begins ``anyway`` though that is under load. Raises Refused, and UnderLoad of it.
    """
    refuse_out_of_reach(rollout)
    plan = plan_of(rollout)
    server = _server_for(rollout, snapshot, anyway=anyway)
    with alone_with(rollout):
        snapshot = snapshot or newest_verified(rollout)
        refusal = why_not_rehearse(rollout, snapshot)
        if refusal:
            raise Refused(refusal)
        assert snapshot is not None
        if snapshot.rollout_id != rollout.pk:
            raise Refused(f"Snapshot {snapshot.pk} is of {snapshot.rollout}.")
        number = Rehearsal.objects.filter(rollout=rollout).count() + 1
        made = staging.asked_for(
            snapshot, _free_name(number), Environment.Purpose.REHEARSAL, actor, server=server
        )
        stage = Rollout.objects.create(plan=rollout.plan, environment=made.name)
        rehearsal = Rehearsal.objects.create(
            rollout=rollout,
            snapshot=snapshot,
            environment=made,
            stage=stage,
            actor_name=actor.get_username(),
            plan_digest=plan.digest,
            keep=keep,
            first_phase=_first_phase(snapshot),
            rows=sum(snapshot.counts.get(table.label, 0) for table in plan.tables),
            lease_until=lease.grace(),
        )
        _record(rehearsal, Event.REHEARSAL_ASKED_FOR, "Asked for", actor.get_username(), source)
        queue.send_rehearsal(rehearsal)
    return rehearsal


def _server_for(rollout: Rollout, snapshot: Snapshot | None, *, anyway: bool) -> str:
    """The name of the server that a rehearsal is made on; empty for production's own.

    Asked before anybody is kept waiting. Raises Refused, and UnderLoad of it.
    """
    snapshot = snapshot or newest_verified(rollout)
    if why_not_rehearse(rollout, snapshot) or snapshot is None:
        return ""  # Which is told soon enough.
    try:
        server = rehearsal_server()
    except ImproperlyConfigured as error:
        raise Refused(f"{error}. Correct it, then rehearse.") from error
    if server is None:
        target = target_of(rollout.environment)
        failed = [
            item for item in load(target, plan_of(rollout), copies=COPIES) if item.status == "fail"
        ]
        if failed and not anyway:
            raise UnderLoad(failed)
        return ""
    try:
        with target_of_server(server).connect(connect_timeout=CONNECT_SECONDS) as connection:
            there = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise Refused(
            f"The server for rehearsals, {server.name}, does not answer: {str(error).strip()} "
            f"Start it, or correct {SETTING}."
        ) from error
    if there < (major := int(snapshot.server_version.partition(".")[0])):
        raise Refused(
            f"Snapshot {snapshot.pk} is of PostgreSQL {major}, and the server for rehearsals, "
            f"{server.name}, is PostgreSQL {there}: no dump is restored into an older version. "
            f"Name a server of PostgreSQL {major} or newer in {SETTING}."
        )
    return server.name


def _free_name(number: int) -> str:
    """A name that no rehearsal's environment ever had: its rollout remembers what it was."""
    while Rollout.objects.filter(environment=f"rehearsal-{number}").exists():
        number += 1
    return f"rehearsal-{number}"


def cancel_rehearsal(rehearsal: Rehearsal, *, actor: Actor, source: str = "web") -> None:
    """Stop a rehearsal; its database goes. Raises Refused."""
    with alone_with(rehearsal.rollout):
        working = [s for s in REHEARSAL_UNDER_WAY if s != RehearsalState.CANCELLING]
        if not Rehearsal.objects.filter(pk=rehearsal.pk, state__in=working).update(
            state=RehearsalState.CANCELLING
        ):
            rehearsal.refresh_from_db()
            if rehearsal.state == RehearsalState.CANCELLING:
                raise Refused(f"Rehearsal {rehearsal.pk} is being cancelled. Wait until it stops.")
            raise Refused("It is not under way any more: there is nothing to cancel.")
        rehearsal.refresh_from_db()
        run = active_run(rehearsal.stage)
        if run is not None and run.state != RunState.CANCELLING:
            verbs.cancel(rehearsal.stage, actor=actor, source=source)
        _record(
            rehearsal,
            Event.REHEARSAL_CANCEL_ASKED_FOR,
            "Asked to cancel",
            actor.get_username(),
            source,
        )


def drop_database(rehearsal: Rehearsal, *, actor: Actor, source: str = "web") -> None:
    """Drop the database of a rehearsal that has ended. Raises Refused."""
    rehearsal.refresh_from_db()
    if rehearsal.under_way:
        raise Refused("It is under way. Cancel it, and its database goes.")
    staging.drop_environment(rehearsal.environment, actor=actor, source=source)


def carry_out(rehearsal_id: int, token: int, *, from_queue: bool = True) -> None:
    """Rehearse, or go on where another worker stopped, if the token is still the newest one."""
    rehearsal = (
        Rehearsal.objects.select_related("rollout", "snapshot__rollout", "environment", "stage")
        .filter(pk=rehearsal_id, state__in=REHEARSAL_UNDER_WAY)
        .first()
    )
    if rehearsal is None or not lease.claim(rehearsal, token):
        return
    with Lease(rehearsal, on_wait=lambda _reason: None, from_queue=from_queue) as held:
        work = _Work(rehearsal, held)
        try:
            work.carry_on()
        except _OthersWait:
            if lease.extend(rehearsal, held.token):
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
            elif execution.connection_lost(error):
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
        target = staging.make(self.made)
        snapshot, stage = self.rehearsal.snapshot, self.rehearsal.stage
        restoring.put_back(
            snapshot, stage, target, self.held, tell=lambda doing: self._write(doing=doing)
        )
        self._write(doing="Copying the tables, to compare with them in the end.")
        with target.connect() as connection:
            install(connection)
            self.held.using(connection)
            before = witness.fingerprint(connection, self.plan)
            witness.begin(connection, self.plan)

        def is_ready() -> None:
            self._write(state=RehearsalState.RUNNING, before=before, doing="")
            staging.is_ready(self.made)

        restoring.note(
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
            staging.drop(other.environment)

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
            return verbs.begin_in_rehearsal(stage, phase, way, actor_name=self.rehearsal.actor_name)

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
                execution.advance(run.pk, run.token)
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
                staging.drop(self.made)
            except (psycopg.Error, UnknownEnvironment) as left:
                advice = f"{advice} Its database {self.made.database} is left: {left}".strip()
        with journal.atomic():
            mine = Rehearsal.objects.filter(pk=self.rehearsal.pk, token=self.token)
            if not mine.update(
                state=state,
                error=error,
                advice=advice,
                doing="",
                finished_at=timezone.now(),
                longest_lock_ms=lock.held_ms if lock else None,
                longest_wait_ms=report.longest_wait_ms,
            ):
                return
            self.rehearsal.refresh_from_db()
            log.record(
                _ENDED[state],
                f"Rehearsal {self.rehearsal.pk} {state}. {error} {advice}".strip(),
                actor=log.last_actor(
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
            lease.take_back(run)
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
        return f"{verbs.sentence_name_of(run)} is paused. Resume it on its page."
    return ""


def _record(rehearsal: Rehearsal, event: Event, verb: str, actor: str, source: str) -> None:
    log.record(
        event,
        f"{verb} rehearsal {rehearsal.pk}, from snapshot {rehearsal.snapshot_id}.",
        actor=actor,
        source=source,
        rollout=rehearsal.rollout,
        data={"rehearsal": rehearsal.pk, "snapshot": rehearsal.snapshot_id},
    )
