"""A staging environment is made from a snapshot, is an environment like others, and goes again."""

from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from rollout import runner
from rollout.journal.environments import UnknownEnvironment, environments_of, target_of
from rollout.models import (
    Environment,
    EnvironmentState,
    LogEntry,
    Restore,
    RestoreState,
    Rollout,
    Snapshot,
)
from rollout.queries.modes import modes_of
from rollout.queries.schema_diffs import differences, schema_of
from rollout.queries.status import all_rollouts, find_rollout, status_of
from rollout.runner import environments
from rollout.watchdog import lost_work
from rollout.worker import databases
from rollout.worker.restores import RestoreJob
from tests.support import rollouts
from tests.support.rollouts import ADA, PLAN

pytestmark = pytest.mark.usefixtures("clean_storage", "no_environment_is_left")


def database_names() -> set[str]:
    with rollouts.target() as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    return {row[0] for row in rows}


def made_from(snapshot: Snapshot) -> Restore:
    asked = runner.make_staging(snapshot, actor=ADA)
    rollouts.work()
    asked.refresh_from_db()
    return asked


def test_a_snapshot_becomes_an_environment_in_which_the_plan_is_run(
    properties: Rollout, snapshot: Snapshot
) -> None:
    asked = made_from(snapshot)
    assert (asked.state, asked.error, asked.activity) == (RestoreState.DONE, "", "")
    rollout = find_rollout(PLAN, "staging")
    assert rollout in all_rollouts()
    with target_of("staging").connect() as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM properties), reltuples FROM pg_class"
            " WHERE oid = 'properties'::regclass"
        ).fetchone()
    assert counts == (300, 300.0), "the planner knows how many rows there are"
    rollouts.carry_out(rollout, 0, 1, 2)
    assert modes_of(PLAN, rollout.environment).write == "both"
    assert modes_of(PLAN, properties.environment).write == "legacy"
    assert differences(schema_of(properties, in_full=True), schema_of(rollout, in_full=True))
    made = Environment.objects.get()
    assert made.database in database_names()
    runner.drop_environment(made, actor=ADA)
    assert made.database not in database_names()
    assert environments_of(PLAN) == ["production"]
    with pytest.raises(UnknownEnvironment):
        find_rollout(PLAN, "staging")
    with pytest.raises(runner.Refused, match="staging cannot be dropped: its state is deleted"):
        runner.drop_environment(made, actor=ADA)
    assert LogEntry.objects.get(event="environment dropped").actor == "ada"
    assert made_from(snapshot).state == RestoreState.DONE, "the name is free again"


def test_names_are_free_and_plain(properties: Rollout, snapshot: Snapshot) -> None:
    made_from(snapshot)
    assert environments.free_name(PLAN) == f"staging-{PLAN}"
    for name, reason in (
        ("production", "Environment production already exists"),
        ("staging", "Environment staging already exists"),
        ('x"; DROP', "Invalid name"),
        ("a" * 41, "Invalid name"),
    ):
        with pytest.raises(runner.Refused, match=reason):
            runner.make_staging(snapshot, name=name, actor=ADA)


def test_an_environment_in_which_a_phase_is_at_work_is_not_dropped(
    properties: Rollout, snapshot: Snapshot
) -> None:
    made_from(snapshot)
    runner.start(find_rollout(PLAN, "staging"), 0, actor=ADA)
    with pytest.raises(runner.Refused, match="phase 0 is queued"):
        runner.drop_environment(Environment.objects.get(), actor=ADA)


def test_a_worker_that_dies_while_it_restores_leaves_nothing_that_another_cannot_clear(
    properties: Rollout, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = runner.make_staging(snapshot, actor=ADA)

    class Killed(BaseException):
        pass

    def dies(made: Environment) -> None:
        raise Killed

    monkeypatch.setattr(databases, "is_ready", dies)
    with pytest.raises(Killed):
        rollouts.work()
    made = Environment.objects.get()
    assert (made.state, made.database in database_names()) == (EnvironmentState.MAKING, True)
    monkeypatch.undo()
    Restore.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    lost_work.bring_back(RestoreJob)
    rollouts.work()
    asked.refresh_from_db()
    assert (asked.state, asked.attempts) == (RestoreState.DONE, 2)
    assert status_of(find_rollout(PLAN, "staging")).next_phase == 0


def test_a_database_that_cannot_be_made_is_reported_and_not_left(
    properties: Rollout, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise psycopg.errors.DiskFull("no space left on device")

    monkeypatch.setattr("rollout.engine.snapshot.scratch.creation", full)
    asked = made_from(snapshot)
    assert asked.state == RestoreState.FAILED
    assert "disk is full" in asked.error
    assert Environment.objects.get().state == EnvironmentState.GONE


def test_a_restore_cancelled_before_a_worker_begins_makes_nothing(
    properties: Rollout, snapshot: Snapshot
) -> None:
    asked = runner.make_staging(snapshot, actor=ADA)
    runner.cancel_restore(asked, actor=ADA)
    rollouts.work()
    asked.refresh_from_db()
    assert asked.state == RestoreState.CANCELLED
    assert Environment.objects.get().state == EnvironmentState.GONE
