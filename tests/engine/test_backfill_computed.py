"""Columns that a Python function computes: written, refused, outdated, found again."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rollout import plan as r
from rollout.engine import backfill, ddl, lane_totals, lanes, quarantine
from rollout.engine.control import Interrupted
from rollout.engine.quarantine import TooManyPoisonRows
from rollout.engine.retries import retry_row
from rollout.engine.target import Connection
from rollout.plan.actions import Compute
from rollout.plan.transition import triggers
from tests.engine.actions import NoControl, StopAfter, claimed, new_job, run_fill, work_off, worker

TABLE = r.Table(
    name="Pic tures",
    key=("id", "part"),
    columns={
        "id": r.Column("uuid", null=False),
        "part": r.Column("integer", null=False),
        "url": r.Column("text", null=False),
        "extra": r.Column("jsonb"),
    },
)


def measure(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | Exception]:
    """What a plan's function does: the length of each text, but not of every one."""
    return [
        FileNotFoundError(f"There is no {row['url']}.")
        if row["url"].startswith("missing")
        else {"Le ngth": len(row["url"]), "digest": row["url"].upper()}
        for row in rows
    ]


MEASURED = r.Computed(
    table=TABLE,
    columns={"Le ngth": r.Column("integer"), "digest": r.Column("text")},
    reads=("url", "extra"),
    function="tests.engine.test_backfill_computed.measure",
)
PLAN = r.Plan(
    name="pictures",
    title="Pictures",
    description="What can be measured is.",
    tables=(TABLE,),
    translations=(MEASURED,),
    phases=(
        r.Phase(steps=()),
        r.Phase(steps=(r.AddColumns(id="add", description="Add", table=TABLE, of=(MEASURED,)),)),
        r.Phase(
            steps=(
                r.StartDualWrite(id="watch", description="Watch", table=TABLE),
                r.Backfill(id="fill", description="Fill", table=TABLE),
            )
        ),
        r.Phase(steps=()),
        r.Phase(steps=(r.StopDualWrite(id="stop", description="Stop", table=TABLE),)),
    ),
)


def the_action() -> Compute:
    (action,) = PLAN.forward(PLAN.step(2, "fill")).actions
    assert isinstance(action, Compute)
    return action


ACTION = the_action()


def apply_step(connection: Connection, number: int, step: str) -> None:
    for action in PLAN.forward(PLAN.step(number, step)).actions:
        ddl.apply(connection, action, NoControl())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def pictures(connection: Connection) -> None:
    connection.execute(
        'CREATE TABLE "Pic tures" (id uuid, part integer, url text NOT NULL, extra jsonb,'
        " note text, PRIMARY KEY (id, part))"
    )
    apply_step(connection, 1, "add")
    apply_step(connection, 2, "watch")


def add(connection: Connection, number: int, url: str, *, extra: str | None = '{"a": 1}') -> None:
    connection.execute(
        'INSERT INTO "Pic tures" (id, part, url, extra) VALUES (%s::text::uuid, %s, %s, %s)',
        [f"{number:032}", number % 3, url, extra],
    )


def add_many(connection: Connection, rows: int) -> None:
    connection.execute(
        'INSERT INTO "Pic tures" (id, part, url)'
        " SELECT lpad(n::text, 32, '0')::uuid, mod(n, 3), 'picture ' || n"
        " FROM generate_series(1, %s) AS n",
        [rows],
    )


def facts(connection: Connection) -> dict[str, tuple[int | None, str | None]]:
    rows = connection.execute('SELECT url, "Le ngth", digest FROM "Pic tures"').fetchall()
    return {url: (length, digest) for url, length, digest in rows}


def replaced(connection: Connection, old: str, new: str) -> None:
    connection.execute('UPDATE "Pic tures" SET url = %s WHERE url = %s', [new, old])


class TestAPass:
    def test_writes_what_the_function_computed(self, connection: Connection) -> None:
        add(connection, 1, "one")
        add(connection, 2, "seven", extra=None)
        totals = run_fill(connection, ACTION)
        assert (totals.scanned, totals.updated, totals.quarantined) == (2, 2, 0)
        assert facts(connection) == {"one": (3, "ONE"), "seven": (5, "SEVEN")}

    def test_the_function_gets_the_columns_it_reads_and_no_more_rows_than_are_unfilled(
        self, connection: Connection
    ) -> None:
        add(connection, 1, "one")
        run_fill(connection, ACTION)
        add(connection, 2, "two", extra='{"b": [2]}')
        given: list[Mapping[str, Any]] = []

        def listen(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | Exception]:
            given.extend(rows)
            return measure(rows)

        job, stripes = new_job(connection, ACTION)
        totals = work_off(connection, ACTION, job, stripes, function=listen)
        assert given == [{"url": "two", "extra": {"b": [2]}}]
        assert (totals.scanned, totals.updated, totals.already_right) == (2, 1, 1)

    def test_a_job_keeps_rows_aside_that_the_function_has_no_answer_for(
        self, connection: Connection
    ) -> None:
        for number, url in enumerate(["one", "missing 1", "two", "missing 2"]):
            add(connection, number, url)
        totals = run_fill(connection, ACTION)
        assert (totals.scanned, totals.updated, totals.quarantined) == (4, 2, 2)
        rows = quarantine.rows(connection, newest_job(connection))
        assert [row.error for row in rows] == [
            "FileNotFoundError: There is no missing 1.",
            "FileNotFoundError: There is no missing 2.",
        ]
        assert rows[0].key == ("00000000-0000-0000-0000-000000000001", "1")
        assert facts(connection)["missing 1"] == (None, None)

    def test_a_job_keeps_rows_aside_whose_values_the_database_refuses(
        self, connection: Connection
    ) -> None:
        connection.execute('ALTER TABLE "Pic tures" ADD CHECK ("Le ngth" < 9)')
        add(connection, 1, "one")
        add(connection, 2, "far too long")
        totals = run_fill(connection, ACTION)
        assert (totals.updated, totals.quarantined) == (1, 1)

    def test_a_job_keeps_a_row_aside_whose_value_cannot_even_be_sent(
        self, connection: Connection
    ) -> None:
        add(connection, 1, "one")
        add(connection, 2, "two")

        def broken(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | Exception]:
            return [{"Le ngth": 1, "digest": row["url"].replace("w", "\x00")} for row in rows]

        job, stripes = new_job(connection, ACTION)
        totals = work_off(connection, ACTION, job, stripes, function=broken)
        assert (totals.updated, totals.quarantined) == (1, 1)
        assert "NUL" in quarantine.rows(connection, job)[0].error

    def test_a_pass_stops_when_too_many_rows_have_no_answer(self, connection: Connection) -> None:
        for number in range(60):
            add(connection, number, f"missing {number}")
        job, stripes = new_job(connection, ACTION)
        with pytest.raises(TooManyPoisonRows, match="60 rows"):
            work_off(connection, ACTION, job, stripes)
        assert lane_totals.totals(connection, job).quarantined == 60

    def test_a_pass_tries_a_row_again_when_its_file_exists(self, connection: Connection) -> None:
        add(connection, 1, "missing")
        run_fill(connection, ACTION)
        job = newest_job(connection)
        (row,) = quarantine.rows(connection, job)
        assert not retry_row(connection, ACTION, job, row.key, function=measure)
        there = {"Le ngth": 1, "digest": "x"}
        assert retry_row(connection, ACTION, job, row.key, function=lambda rows: [there])
        assert facts(connection) == {"missing": (1, "x")}

    def test_a_pass_finds_each_row_by_its_key_and_not_by_a_scan(
        self, connection: Connection
    ) -> None:
        add_many(connection, 3_000)
        connection.execute('ANALYZE "Pic tures"')
        explained = connection.execute(
            sql.SQL("EXPLAIN ") + ACTION.update_one(TABLE.identifier),
            [1, "x", "0" * 32, "1", "(a,)"],
        ).fetchall()
        assert "Index" in " ".join(line for (line,) in explained)

    def test_a_job_can_be_stopped_while_the_function_is_at_work_on_a_range(
        self, connection: Connection
    ) -> None:
        """A page of rows may take seconds: nobody waits for its end."""
        add_many(connection, 100)
        calls = 0

        def slow(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | Exception]:
            nonlocal calls
            calls += 1
            return measure(rows)

        job, _ = new_job(connection, ACTION)
        working = worker(connection, ACTION, stripes=1, function=slow, control=StopAfter(3))
        with pytest.raises(Interrupted):
            working.run_lane(claimed(connection, job), seconds=60)
        assert calls == 2


def newest_job(connection: Connection) -> int:
    row = connection.execute("SELECT max(job) FROM rollout.lanes").fetchone()
    assert row is not None
    return int(row[0])


class TestAWriteMeanwhile:
    def test_stale_result_is_discarded_and_row_recomputed(
        self, connection: Connection, app: Connection
    ) -> None:
        add(connection, 1, "one")
        add(connection, 2, "two")

        def beside(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | Exception]:
            replaced(app, "one", "eleven")
            return measure(rows)

        job, stripes = new_job(connection, ACTION)
        totals = work_off(connection, ACTION, job, stripes, function=beside)
        assert totals.updated == 1
        assert facts(connection) == {"eleven": (None, None), "two": (3, "TWO")}
        assert backfill.count_unfilled(connection, ACTION, job) == 1
        lanes.another_round(connection, job, TABLE)
        totals = work_off(connection, ACTION, job, stripes)
        assert facts(connection)["eleven"] == (6, "ELEVEN")
        assert (totals.scanned, totals.updated, totals.already_right) == (2, 1, 1)
        assert totals.rewritten == 1, "it came after the pass had begun, and is written too"
        assert backfill.count_unfilled(connection, ACTION, job) == 0

    def test_a_write_to_another_column_keeps_nothing_from_being_written(
        self, connection: Connection, app: Connection
    ) -> None:
        add(connection, 1, "one")

        def beside(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | Exception]:
            app.execute("""UPDATE "Pic tures" SET note = 'seen'""")
            return measure(rows)

        job, stripes = new_job(connection, ACTION)
        assert work_off(connection, ACTION, job, stripes, function=beside).updated == 1

    def test_a_write_that_brings_the_values_itself_keeps_them(
        self, connection: Connection, app: Connection
    ) -> None:
        add(connection, 1, "one")

        def beside(rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any] | Exception]:
            app.execute("""UPDATE "Pic tures" SET "Le ngth" = 77, digest = 'mine'""")
            return measure(rows)

        job, stripes = new_job(connection, ACTION)
        totals = work_off(connection, ACTION, job, stripes, function=beside)
        assert (totals.updated, totals.already_right) == (0, 1)
        assert facts(connection) == {"one": (77, "mine")}


class TestTheTrigger:
    @pytest.fixture(autouse=True)
    def filled_row(self, pictures: None, connection: Connection) -> None:
        add(connection, 1, "one")
        run_fill(connection, ACTION)

    def test_the_trigger_empties_computed_columns_when_a_source_changes(
        self, app: Connection
    ) -> None:
        replaced(app, "one", "two")
        assert facts(app) == {"two": (None, None)}

    def test_the_trigger_keeps_values_when_another_column_changes(self, app: Connection) -> None:
        app.execute("""UPDATE "Pic tures" SET note = 'x'""")
        assert facts(app) == {"one": (3, "ONE")}

    def test_the_trigger_keeps_values_that_come_with_the_change(self, app: Connection) -> None:
        app.execute("""UPDATE "Pic tures" SET url = 'two', "Le ngth" = 33, digest = 'new'""")
        assert facts(app) == {"two": (33, "new")}

    def test_the_trigger_is_gone_with_the_last_phase(self, connection: Connection) -> None:
        apply_step(connection, 4, "stop")
        replaced(connection, "one", "two")
        assert facts(connection) == {"two": (3, "ONE")}
        name = triggers(PLAN, TABLE).function
        with pytest.raises(psycopg.errors.UndefinedFunction):
            connection.execute(f'DROP FUNCTION rollout."{name}"'.encode())


def test_the_way_back_empties_the_computed_columns(connection: Connection) -> None:
    add(connection, 1, "one")
    run_fill(connection, ACTION)
    remove, clear = PLAN.backward(PLAN.step(2, "watch")).actions
    ddl.apply(connection, remove, NoControl())  # type: ignore[arg-type]
    run_fill(connection, clear)  # type: ignore[arg-type]
    assert facts(connection) == {"one": (None, None)}
