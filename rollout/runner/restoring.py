"""Puts a snapshot back into an environment, and tells its journal where it stands from then on."""

from functools import partial

import psycopg
from django.utils import timezone

from rollout import dumps, gates, log
from rollout.engine.control import Quiet
from rollout.engine.snapshot import problem
from rollout.engine.snapshot.archive import Archive
from rollout.engine.snapshot.contents import relations_of
from rollout.engine.snapshot.problem import SnapshotError
from rollout.engine.snapshot.restore import replace_tables
from rollout.engine.target import Connection, Target
from rollout.environments import DEFAULT, environments, target_of
from rollout.models import (
    PhaseRun,
    Rollout,
    RunState,
    Snapshot,
    SnapshotState,
    StepRun,
    StepState,
    Way,
)
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan
from rollout.runner.snapshots import programs_for, recorded
from rollout.runner.verbs import Actor, Refused, active_run, alone_with, is_busy, plan_of


def restore_snapshot(
    snapshot: Snapshot, into: Rollout, *, replace: bool, actor: Actor, source: str = "web"
) -> None:
    """Put a snapshot in place of the plan's tables in an environment other than production.

    Runs in this process until it is done. Tables that are there already are replaced only with
    ``replace``, all in one transaction. Raises Refused; nothing has changed then.
    """
    plan = plan_of(into)
    _refuse(snapshot, into)
    control = Quiet()
    try:
        stored = dumps.measured(snapshot.storage_name, check=control.check)
        if stored.sha256 != snapshot.sha256:
            raise Refused("Its dump is not what was written. Take another snapshot.")
        with target_of(into.environment).connect() as connection:
            _refuse_database(connection, into)
            there = _tables_there(connection, plan)
            if there and not replace:
                raise Refused(
                    f"{into.environment} has {', '.join(there)} already. Say that they are to be "
                    "replaced: --yes."
                )
            archive = Archive(
                programs_for(connection), partial(dumps.open_dump, snapshot.storage_name), control
            )
            replace_tables(connection, plan, archive, recorded(snapshot), control)
    except SnapshotError as error:
        raise Refused(f"{error} {error.advice}") from error
    except psycopg.Error as error:
        meant = problem.of_database(error)
        raise Refused(f"{meant} Nothing was changed.") from error
    _note(snapshot, into, actor, source)


def _refuse(snapshot: Snapshot, into: Rollout) -> None:
    if into.environment == DEFAULT:
        raise Refused(
            f"Restoring into {DEFAULT} needs the approval of a second lead, which cannot be asked "
            "for yet. Restore into another environment with --env."
        )
    if snapshot.rollout.plan != into.plan:
        raise Refused(f"Snapshot {snapshot.pk} is of {snapshot.rollout.plan}, not of {into.plan}.")
    if snapshot.state != SnapshotState.VERIFIED:
        raise Refused(
            f"Snapshot {snapshot.pk} is {snapshot.get_state_display().lower()}. Only a verified "
            "one is restored: verify it, or take another."
        )
    active = active_run(into)
    if active is not None:
        raise Refused(is_busy(active))


def _refuse_database(connection: Connection, into: Rollout) -> None:
    """An environment whose name is another may still be the same database."""
    if DEFAULT in environments() and _identity(connection) == _identity_of(target_of(DEFAULT)):
        raise Refused(
            f"{into.environment} is the very database of {DEFAULT}. Name another database for it "
            'in ROLLOUT["ENVIRONMENTS"].'
        )


def _identity_of(target: Target) -> tuple[object, ...] | None:
    try:
        with target.connect() as connection:
            return _identity(connection)
    except psycopg.OperationalError:
        return None  # It is away, so it is not the one that answers.


def _identity(connection: Connection) -> tuple[object, ...] | None:
    return connection.execute(
        "SELECT d.oid, d.datname, pg_postmaster_start_time(), system_identifier"
        " FROM pg_database AS d, pg_control_system() WHERE d.datname = current_database()"
    ).fetchone()


def _tables_there(connection: Connection, plan: Plan) -> list[str]:
    return [
        relation.label
        for relation in relations_of(connection, plan)
        if relation.schema != SCHEMA and relation.kind in "rp"
    ]


def _note(snapshot: Snapshot, into: Rollout, actor: Actor, source: str) -> None:
    """Where the environment stands now: as the snapshot's did when it was taken."""
    with alone_with(into):
        runs = gates.newest_runs(into)
        for number, was in enumerate(snapshot.phases):
            run = runs.get(number)
            if was == "done" and not gates.is_done(run):
                _run(into, number, Way.FORWARD, RunState.DONE, snapshot, actor)
            elif was == "untouched" and not gates.is_untouched(run):
                _run(into, number, Way.BACKWARD, RunState.DONE, snapshot, actor)
            elif was == "begun":
                _run(into, number, Way.FORWARD, RunState.CANCELLED, snapshot, actor)
        log.record(
            "snapshot restored",
            f"Restored snapshot {snapshot.pk} of {snapshot.rollout.environment}: "
            f"{sum(snapshot.counts.values()):,} rows in {len(snapshot.counts)} tables.",
            actor=actor.get_username(),
            source=source,
            rollout=into,
            data={"snapshot": snapshot.pk, "sha256": snapshot.sha256, "phases": snapshot.phases},
        )


def _run(
    into: Rollout, number: int, way: Way, state: RunState, snapshot: Snapshot, actor: Actor
) -> None:
    now = timezone.now()
    half = state == RunState.CANCELLED
    run = PhaseRun.objects.create(
        rollout=into,
        phase=number,
        way=way,
        state=state,
        actor_name=actor.get_username(),
        plan_digest=snapshot.plan_digest,
        started_at=now,
        finished_at=now,
        error=f"Snapshot {snapshot.pk} was taken in the middle of this phase." if half else "",
        advice="Retry the phase, or roll it back." if half else "",
    )
    if way == Way.BACKWARD:
        return
    # A rollback undoes the steps that were begun; a retry asks the catalog for each anew.
    StepRun.objects.bulk_create(
        StepRun(
            run=run,
            step=step.id,
            position=position,
            state=StepState.FAILED if half else StepState.DONE,
            attempts=1,
            started_at=now,
            finished_at=now,
            result="" if half else f"Restored with snapshot {snapshot.pk}.",
        )
        for position, step in enumerate(plan_of(into).phases[number].steps)
    )
