"""The rows of an uploaded CSV file: each is worked on exactly once, and then the file goes."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pytest

from rollout import plan as r
from rollout.engine import csv_files, hazards, quarantine, task_batches
from rollout.engine.csv_files import Upload
from rollout.engine.target import Connection, Target
from rollout.models import BackfillJob
from rollout.plan.actions import Statement
from rollout.plan.csv_tasks import CsvFile, CsvTask
from rollout.queries.csv_uploads import rows_in
from rollout.queries.mapping_csv import InvalidMappingFile
from rollout.worker.quarantines import retry_quarantined
from tests.engine.actions import new_job, run_fill, work_off
from tests.engine.samples import BIGINT

Rows = Sequence[Mapping[str, Any]]
COLUMNS = ("Na me", 'am"ount %')


def note(rows: Rows, connection: Connection) -> list[Exception | None]:
    """Write each row down; refuse some, and leave others to the database."""
    for row in rows:
        if row["Na me"] != "refused":
            connection.execute(
                "INSERT INTO public.noted VALUES (%s, %s::int)", [row["line"], row['am"ount %']]
            )
    return [ValueError("Not so.") if row["Na me"] == "refused" else None for row in rows]


def note_and_die_once(rows: Rows, connection: Connection) -> None:
    note(rows, connection)
    if connection.execute("SELECT nextval('deaths')").fetchone() == (3,):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def step_of(function: str = "note") -> r.RunCsvTask:
    return r.RunCsvTask(
        id="import",
        description="Import",
        columns=COLUMNS,
        function=f"tests.engine.test_csv_files.{function}",
    )


def actions_of(step: r.RunCsvTask) -> tuple[CsvTask, Statement]:
    task, drop = step.forward(BIGINT.plan)
    assert isinstance(task, CsvTask)
    assert isinstance(drop, Statement)
    return task, drop


FILE = step_of().file(BIGINT.plan)


def upload(connection: Connection, *lines: str, file: CsvFile = FILE) -> Upload:
    data = "\n".join(['Na me,"am""ount %"', *lines]).encode()
    rows = rows_in(data, file.columns)
    return csv_files.load(connection, file, rows, name="a.csv", by="ada", at="now", sha256="5ca1e")


@pytest.fixture
def noted(connection: Connection) -> Connection:
    connection.execute(
        "CREATE TABLE public.noted (line bigint, amount int); CREATE SEQUENCE public.deaths"
    )
    return connection


def lines(connection: Connection) -> list[int]:
    return [n for (n,) in connection.execute("SELECT line FROM public.noted ORDER BY 1")]


def test_each_row_is_done_once_and_then_the_file_is_removed(noted: Connection) -> None:
    upload(noted, *(f"a{n},{n}" for n in range(500)))
    task, drop = actions_of(step_of())
    totals = run_fill(noted, task)
    assert (totals.scanned, totals.updated, totals.quarantined) == (500, 500, 0)
    assert lines(noted) == list(range(2, 502))
    known = csv_files.upload_of(noted, FILE)
    assert known == Upload("a.csv", "ada", "now", "5ca1e", rows=500, left=0)
    assert run_fill(noted, task).updated == 0
    for _ in range(2):
        noted.execute(drop.sql)
        assert csv_files.upload_of(noted, FILE) is None


def test_a_batch_whose_worker_is_killed_before_it_commits_is_done_once(
    target: Target, noted: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_batches, "MAX_TASK_ROWS", 7)
    upload(noted, *(f"a{n},{n}" for n in range(600)))
    task, _ = actions_of(step_of("note_and_die_once"))
    with target.connect() as dies:
        job, stripes = new_job(dies, task)
        with pytest.raises(psycopg.OperationalError):
            work_off(dies, task, job, stripes)
    assert len(lines(noted)) < 600
    # Its leases have run out.
    noted.execute("UPDATE rollout.lanes SET lease_until = NULL WHERE job = %s", [job])
    totals = work_off(noted, task, job, stripes)
    assert lines(noted) == list(range(2, 602))
    assert (totals.scanned, totals.updated) == (600, 600)


def test_rows_that_are_refused_keep_the_file_until_they_are_done(noted: Connection) -> None:
    upload(noted, "fine,1", "refused,2", "fine,no number", "fine,4")
    task, drop = actions_of(step_of())
    job, stripes = new_job(noted, task)
    totals = work_off(noted, task, job, stripes)
    assert (totals.updated, totals.quarantined) == (2, 2)
    reasons = {row.key: row.error for row in quarantine.rows(noted, job, limit=None)}
    assert reasons["3",] == "ValueError: Not so."
    assert "invalid input syntax for type integer" in reasons["4",]
    noted.execute(drop.sql)
    kept = csv_files.upload_of(noted, FILE)
    assert kept is not None
    assert kept.left == 2
    noted.execute(f"UPDATE {FILE.table.identifier.as_string()} SET \"Na me\" = 'fine'".encode())
    assert retry_quarantined(noted, task, BackfillJob(pk=job)) == 1
    assert lines(noted) == [2, 3, 5]


def test_a_file_that_is_refused_leaves_the_one_before(noted: Connection) -> None:
    before = upload(noted, "fine,1")
    with pytest.raises(InvalidMappingFile, match="Line 3"):
        upload(noted, "fine,1", "fine,1,2")
    assert csv_files.upload_of(noted, FILE) == Upload(
        before.name, before.by, before.at, before.sha256, rows=1, left=1
    )
    upload(noted, "fine,1", "fine,2", "fine,3")
    after = csv_files.upload_of(noted, FILE)
    assert after is not None
    assert after.rows == after.left == 3


def test_a_missing_file_is_a_hazard_and_the_way_back_removes_it(noted: Connection) -> None:
    (missing,) = step_of().hazards(BIGINT.plan)
    assert hazards.finding(noted, missing).startswith("1 CSV file is missing: the one of step")
    upload(noted, "fine,1")
    assert hazards.finding(noted, missing) == ""
    (drop,) = step_of().backward(BIGINT.plan)
    assert isinstance(drop, Statement)
    noted.execute(drop.sql)
    assert csv_files.upload_of(noted, FILE) is None
