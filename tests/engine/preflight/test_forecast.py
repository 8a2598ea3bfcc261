"""The locks that a phase takes, for how long, and who would be in their way."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from rollout.engine import preflight
from rollout.engine.preflight import LockForecast, forecast, forecast_locks
from rollout.engine.preflight.forecast import Forecaster
from rollout.engine.preflight.item import oids_of
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Lock, LockMode, Statement, StepActions
from rollout.plan.linked_tables import linked, linked_again
from rollout.plan.names import code
from rollout.plan.sql_files import SqlFile
from tests.engine.actions import do_phase, do_until
from tests.engine.sample_plans import with_phases
from tests.engine.samples import BIGINT, PARTITIONED

PLAN = BIGINT.plan


@pytest.fixture(autouse=True)
def table(connection: Connection) -> None:
    BIGINT.create(connection)
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT n, 'House', 'open'"
        " FROM generate_series(1, 5000) AS n"
    )
    connection.execute("ANALYZE things")


def of_step(locks: list[LockForecast], step: str) -> list[tuple[LockMode, tuple[str, ...]]]:
    return [(lock.mode, lock.tables) for lock in locks if lock.step == step]


def test_both_tables_of_a_foreign_key_are_named_each_way(
    target: Target, connection: Connection
) -> None:
    for number in range(3):
        do_phase(target, connection, PLAN, number)
    forward = preflight.run(target, PLAN, 3).locks
    assert of_step(forward, "kind-key") == [
        (LockMode.SHARE_ROW_EXCLUSIVE, ("things", "kinds")),
        (LockMode.SHARE_UPDATE_EXCLUSIVE, ("things",)),
        (LockMode.ROW_SHARE, ("kinds",)),
    ]
    do_phase(target, connection, PLAN, 3)
    backward = forecast_locks(target, PLAN, 3, forward=False)
    assert of_step(backward, "kind-key") == [(LockMode.ACCESS_EXCLUSIVE, ("things", "kinds"))]
    assert backward[0].step == "cut-over"


def test_a_validation_is_held_for_a_scan_and_the_rest_for_milliseconds(
    target: Target, connection: Connection
) -> None:
    for number in range(3):
        do_phase(target, connection, PLAN, number)
    add, validate, _ = [
        lock for lock in preflight.run(target, PLAN, 3).locks if lock.step == "kind-key"
    ]
    assert (add.hold, add.hold_seconds) == ("milliseconds", None)
    assert validate.rows == 5000
    assert validate.hold_seconds is not None
    assert 0 < validate.hold_seconds < 5
    assert validate.blocks == "nothing the application does"


def test_a_lock_that_a_step_takes_again_and_again_is_reported_once_with_its_times(
    target: Target, connection: Connection
) -> None:
    for number in range(3):
        do_phase(target, connection, PLAN, number)
    locks = [lock for lock in preflight.run(target, PLAN, 3).locks if lock.step == "require"]
    # Two columns, each with a constraint at once, or by way of a CHECK that comes and goes.
    exclusive = 2 if connection.info.server_version >= 180_000 else 6
    assert [(lock.mode, lock.times) for lock in locks] == [
        (LockMode.ACCESS_EXCLUSIVE, exclusive),
        (LockMode.SHARE_UPDATE_EXCLUSIVE, 2),
    ]


def test_a_table_that_was_never_analyzed_has_its_time_told_all_the_same(
    target: Target, connection: Connection
) -> None:
    PARTITIONED.create(connection)
    for number in range(3):
        do_phase(target, connection, PARTITIONED.plan, number)
    locks = preflight.run(target, PARTITIONED.plan, 3).locks
    assert [lock.hold_seconds for lock in locks if lock.step == "require"][1] == 0.0


def test_steps_already_applied_are_named(target: Target, connection: Connection) -> None:
    do_until(target, connection, PLAN, "kind-key")
    locks = preflight.run(target, PLAN, 3).locks
    assert {lock.applied for lock in locks if lock.step == "kind-key"} == {True}
    assert {lock.applied for lock in locks if lock.step == "state-key"} == {False}


def test_a_pass_over_the_rows_locks_batch_by_batch(target: Target, connection: Connection) -> None:
    for number in range(2):
        do_phase(target, connection, PLAN, number)
    locks = preflight.run(target, PLAN, 2).locks
    (fill,) = [lock for lock in locks if lock.step == "backfill"]
    assert (fill.mode, fill.hold) == (LockMode.ROW_EXCLUSIVE, "milliseconds per batch")


@pytest.mark.parametrize(
    ("statement", "in_the_way"),
    [
        ("SELECT count(*) FROM things", {LockMode.ACCESS_EXCLUSIVE}),
        (
            "UPDATE things SET kind = 'Flat' WHERE id = 1",
            {LockMode.ACCESS_EXCLUSIVE, LockMode.SHARE_ROW_EXCLUSIVE},
        ),
    ],
    ids=["reader", "writer"],
)
def test_a_blocking_session_is_named_for_the_lock_modes_that_wait_for_it(
    statement: str,
    in_the_way: set[LockMode],
    target: Target,
    connection: Connection,
    app: Connection,
) -> None:
    for number in range(3):
        do_phase(target, connection, PLAN, number)
    app.execute("BEGIN")
    app.execute(statement.encode())
    report = preflight.run(target, PLAN, 3)
    app.execute("ROLLBACK")
    named = {lock.mode for lock in report.locks if lock.in_the_way}
    assert named == in_the_way
    session = next(lock for lock in report.locks if lock.in_the_way).in_the_way[0]
    assert str(session).startswith(f"PID {app.info.backend_pid} (the application, idle")
    assert report.longest_transaction is not None


def test_locks_in_another_database_are_in_nobodys_way(
    target: Target, connection: Connection
) -> None:
    """A copy of a database has tables of the same oids, as every database has its pg_class."""
    parameters = {**target.parameters, "dbname": "postgres", "application_name": "a rehearsal"}
    with psycopg.connect(**parameters) as elsewhere:
        elsewhere.execute("SELECT 1 FROM pg_class LIMIT 1")
        oids = oids_of(connection, ["pg_catalog.pg_class"])
        holders = forecast.holders_of(connection, oids)
    assert oids
    assert "a rehearsal" not in {session.application for session, _ in holders}


def test_the_rollout_names_its_own_sessions_as_such() -> None:
    own = forecast.Session(7, "rollout", "active", 12, "SELECT 1")
    assert str(own) == "PID 7 (Rollout's own audit, snapshot or run, active, open for 12 s)"


def test_the_oldest_transaction_of_the_database_is_reported(
    target: Target, app: Connection
) -> None:
    app.execute("BEGIN")
    app.execute("SELECT 1")
    app.execute("SELECT pg_sleep(1.1)")
    report = preflight.run(target, PLAN, 1)
    app.execute("COMMIT")
    assert report.longest_transaction is not None
    assert report.longest_transaction >= 1


def test_tables_linked_by_foreign_keys_are_named_where_nothing_is_kept_for_a_rollback(
    connection: Connection,
) -> None:
    connection.execute("CREATE TABLE notes (thing bigint REFERENCES things)")
    connection.execute("DROP TABLE rollout.attributes")
    table, mode = BIGINT.table, LockMode.ACCESS_EXCLUSIVE
    statement = Statement(
        sql=sql.SQL("SELECT 1").format(),
        done=None,
        locks=(Lock(mode, "things"),),
        links=(linked(table, table.key, mode), linked_again(PLAN.name, table, mode)),
    )
    step = PLAN.phases[1].steps[0]
    (lock,) = Forecaster(connection, [(step, StepActions((statement,)))]).locks()
    assert lock.tables == ("things", "notes")


def test_a_table_that_the_phase_itself_creates_is_locked_before_nobody(target: Target) -> None:
    """Nobody can wait for it. One that is there, or that another phase creates, is reported."""

    def file(number: int, text: str, *locks: str) -> SqlFile:
        taken = tuple(Lock(LockMode.ACCESS_EXCLUSIVE, table) for table in locks)
        statement = Statement(sql=sql.Composed([code(text)]), done=None, locks=taken)
        return SqlFile(
            id=f"file-{number}",
            description=text,
            path=Path(f"{number:03}.up.sql"),
            phase=1,
            ups=(statement,),
            downs=(),
        )

    steps = (
        file(1, "CREATE TABLE prices (thing bigint REFERENCES things)", "prices", "things"),
        file(2, 'CREATE UNLOGGED TABLE IF NOT EXISTS public."Names" ()', "Names"),
        file(3, "ALTER TABLE prices ADD COLUMN euros int", "prices"),
        file(4, "CREATE TABLE IF NOT EXISTS things ()", "things"),
        file(5, "ALTER TABLE notes ADD COLUMN euros int", "notes"),
    )
    before, phase, *after = PLAN.phases
    plan = with_phases(PLAN, [before, replace(phase, steps=steps), *after])
    assert [(lock.step, lock.tables) for lock in forecast_locks(target, plan, 1)] == [
        ("file-1", ("things",)),
        ("file-4", ("things",)),
        ("file-5", ("notes",)),
    ]
