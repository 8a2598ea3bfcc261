"""A Python function works on rows in batches, each exactly once, and puts rows aside."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rollout import plan as r
from rollout.engine import quarantine, task_batches
from rollout.engine.target import Connection, Target
from rollout.models import BackfillJob
from rollout.plan.tasks import Task
from rollout.worker.quarantines import retry_quarantined
from tests.engine.actions import act, do_until, new_job, run_fill, work_off
from tests.engine.samples import BIGINT, COMPOSITE, ODD, PARTITIONED, UUIDS, Sample

SHAPES = pytest.mark.parametrize("sample", [BIGINT, UUIDS, COMPOSITE, ODD, PARTITIONED], ids=str)
Rows = Sequence[Mapping[str, Any]]


def mark(rows: Rows, connection: Connection) -> None:
    """Set the state of each row to its kind, and write down that it was done."""
    (sample,) = (s for s in (BIGINT, UUIDS, COMPOSITE, ODD, PARTITIONED) if of(s, rows[0]))
    table = sample.table
    for row in rows:
        connection.execute(
            sql.SQL("UPDATE {} SET {} = %s WHERE ({}) = ({})").format(
                table.identifier,
                sql.Identifier(sample.column("state")),
                sql.SQL(", ").join(map(sql.Identifier, table.key)),
                sql.SQL(", ").join(sql.Literal(row[column]) for column in table.key),
            ),
            [row[sample.column("kind")]],
        )
        connection.execute("INSERT INTO public.done VALUES (%s)", [row[sample.column("kind")]])


def of(sample: Sample, row: Mapping[str, Any]) -> bool:
    types = (type(row[c]) for c in sample.table.key if c in row)
    known = [type(part) for part in sample.make_key(1)]
    return {*row} == {*sample.table.key, sample.column("kind")} and [*types] == known


def forget(rows: Rows, connection: Connection) -> None:
    connection.execute(
        "UPDATE things SET state = 'unseen' WHERE id = ANY (%s)", [[row["id"] for row in rows]]
    )


def mark_and_die_once(rows: Rows, connection: Connection) -> None:
    """Do a batch, and lose the session before it commits, as when the worker is killed."""
    mark(rows, connection)
    row = connection.execute("SELECT nextval('deaths')").fetchone()
    if row == (3,):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def judge(rows: Rows, connection: Connection) -> list[Exception | None]:
    """Refuse some rows, pass some over, and leave others to the database."""
    for row in rows:
        if row["kind"] not in ("refused", "passed over"):
            connection.execute(
                "UPDATE things SET state = %s WHERE id = %s",
                ["x" * 30 if row["kind"] == "too long" else "seen", row["id"]],
            )
    return [ValueError("No such thing.") if row["kind"] == "refused" else None for row in rows]


def miscount(rows: Rows, connection: Connection) -> list[None]:
    return [None]


def step_of(sample: Sample, function: str = "mark", undo: str = "") -> r.RunTask:
    return r.RunTask(
        id="task",
        description="Mark what was seen",
        table=sample.table,
        function=f"tests.engine.test_task_batches.{function}",
        where=f"{{{sample.column('state')}}} = 'unseen'",
        reads=(sample.column("kind"),),
        undo=undo and f"tests.engine.test_task_batches.{undo}",
        undo_where="{state} = {kind}" if undo else "",
    )


def task_of(step: r.RunTask) -> Task:
    (task,) = step.forward(BIGINT.plan)
    assert isinstance(task, Task)
    return task


def fill(sample: Sample, connection: Connection, rows: int = 60) -> None:
    sample.create(connection)
    connection.execute("CREATE TABLE public.done (kind text); CREATE SEQUENCE public.deaths")
    for number in range(rows):
        state = "seen" if number % 3 == 0 else "unseen"
        sample.insert(connection, number, kind=f"kind {number}", state=state)


def done(connection: Connection) -> list[str]:
    return [kind for (kind,) in connection.execute("SELECT kind FROM public.done ORDER BY kind")]


def expected(rows: int = 60) -> list[str]:
    return sorted(f"kind {number}" for number in range(rows) if number % 3)


@SHAPES
def test_each_row_that_is_left_is_done_once_and_no_other(
    sample: Sample, target: Target, connection: Connection
) -> None:
    fill(sample, connection)
    totals = run_fill(connection, task_of(step_of(sample)))
    assert (totals.scanned, totals.updated, totals.quarantined) == (60, 40, 0)
    assert done(connection) == expected()
    states = [state for _, state in sample.texts(connection).values()]
    assert sorted(map(str, states)) == sorted(["seen"] * 20 + expected())
    assert run_fill(connection, task_of(step_of(sample))).updated == 0
    assert done(connection) == expected()


def test_a_batch_whose_worker_is_killed_before_it_commits_is_done_once(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_batches, "MAX_TASK_ROWS", 7)
    fill(BIGINT, connection, rows=600)
    task = task_of(step_of(BIGINT, "mark_and_die_once"))
    with target.connect() as dies:
        job, stripes = new_job(dies, task)
        with pytest.raises(psycopg.OperationalError):
            work_off(dies, task, job, stripes)
    before = len(done(connection))
    assert before < len(expected(600))
    # Its leases have run out.
    connection.execute("UPDATE rollout.lanes SET lease_until = NULL WHERE job = %s", [job])
    totals = work_off(connection, task, job, stripes)
    assert done(connection) == expected(600)
    assert (totals.scanned, totals.updated) == (600, 400)


def test_rows_that_function_or_database_refuse_are_put_aside_and_tried_again(
    target: Target, connection: Connection
) -> None:
    sample = replace(BIGINT, text_type="character varying(20)")
    sample.create(connection)
    kinds = ["fine", "refused", "fine", "too long", "passed over", "fine"] * 4
    for number, kind in enumerate(kinds):
        sample.insert(connection, number, kind=kind, state="unseen")
    task = task_of(step_of(sample, "judge"))
    job, stripes = new_job(connection, task)
    totals = work_off(connection, task, job, stripes)
    assert (totals.scanned, totals.updated, totals.quarantined) == (24, 12, 12)
    reasons = {row.error for row in quarantine.rows(connection, job, limit=None)}
    assert reasons == {
        "ValueError: No such thing.",
        "value too long for type character varying(20)",
        "The function returned, and the row still meets: state = 'unseen'",
    }
    connection.execute("UPDATE things SET kind = 'fine' WHERE kind IN ('refused', 'too long')")
    assert retry_quarantined(connection, task, BackfillJob(pk=job)) == 8
    assert quarantine.count(connection, job) == 4
    assert sample.count(connection, "t.state = 'seen'") == 20


def test_a_function_that_miscounts_its_rows_fails_the_job_and_nothing_is_kept(
    target: Target, connection: Connection
) -> None:
    fill(BIGINT, connection)
    with pytest.raises(ValueError, match=r"returned 1 outcomes for \d+ rows"):
        run_fill(connection, task_of(step_of(BIGINT, "miscount")))
    assert done(connection) == []


def test_a_rollback_has_its_own_function_over_its_own_rows(
    target: Target, connection: Connection
) -> None:
    step = step_of(BIGINT, undo="forget")
    fill(BIGINT, connection)
    before = BIGINT.texts(connection)
    (task,) = step.forward(BIGINT.plan)
    (back,) = step.backward(BIGINT.plan)
    assert act(target, connection, BIGINT.plan, 2, task)
    assert act(target, connection, BIGINT.plan, 2, back)
    assert BIGINT.texts(connection) == before
    assert not act(target, connection, BIGINT.plan, 2, back)
    assert step_of(BIGINT).backward(BIGINT.plan) == ()


def test_the_dual_write_translates_what_a_function_writes(
    target: Target, connection: Connection
) -> None:
    fill(BIGINT, connection)
    do_until(target, connection, BIGINT.plan, "dual-write")
    run_fill(connection, task_of(step_of(BIGINT)))
    assert BIGINT.name_of(connection, 1, BIGINT.state) == "kind 1"
