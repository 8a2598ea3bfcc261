"""The passes of a repair: confined to their rows, stopped and continued, computed again."""

from dataclasses import replace
from typing import Any

from psycopg import sql

from rollout.engine import backfill
from rollout.engine.repair import (
    RepairPlan,
    Selection,
    count,
)
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill as fill_of
from tests.engine import test_backfill_computed as pictures
from tests.engine.actions import do_until, new_job, run_fill, work_off
from tests.engine.repairs import (
    PLAN,
    carry_out,
    repairing,
)
from tests.engine.samples import BIGINT


class TestComputed:
    KEY = "00000000-0000-0000-0000-00000000000a"

    def filled(self, target: Target, connection: Connection) -> None:
        connection.execute(
            'CREATE TABLE "Pic tures" (id uuid, part integer, url text NOT NULL, extra jsonb,'
            " PRIMARY KEY (id, part))"
        )
        for part, url in enumerate(["one", "two", "three"], start=1):
            connection.execute(
                'INSERT INTO "Pic tures" (id, part, url) VALUES (%s::text::uuid, %s, %s)',
                [self.KEY, part, url],
            )
        do_until(target, connection, pictures.PLAN, "fill")

    def lengths(self, connection: Connection) -> list[Any]:
        return connection.execute(
            sql.SQL('SELECT "Le ngth", digest FROM {} ORDER BY part').format(
                pictures.TABLE.identifier
            )
        ).fetchall()

    def damage(self, connection: Connection, part: int, length: int | None) -> None:
        connection.execute(
            sql.SQL('UPDATE {} SET "Le ngth" = {} WHERE part = {}').format(
                pictures.TABLE.identifier, sql.Literal(length), sql.Literal(part)
            )
        )

    def repair(self, **selection: Any) -> RepairPlan:
        return RepairPlan(
            pictures.PLAN, pictures.TABLE, Selection.of(selection), direction="forward"
        )

    def test_missing_values_are_computed_for_the_selected_rows_alone(
        self, target: Target, connection: Connection
    ) -> None:
        self.filled(target, connection)
        self.damage(connection, 1, None)
        self.damage(connection, 2, None)
        repair = self.repair(keys=[[self.KEY, "2"]])
        assert count(connection, repair).categories == {"missing": 1}
        assert carry_out(connection, repair) == 1
        assert [length for length, _ in self.lengths(connection)] == [None, 3, 5]

    def test_a_value_that_the_function_contradicts_is_computed_again(
        self, target: Target, connection: Connection
    ) -> None:
        self.filled(target, connection)
        self.damage(connection, 1, 99)
        self.damage(connection, 3, 99)
        repair = self.repair(keys=[[self.KEY, "3"]], categories=["computed_differs"])
        counted = count(connection, repair)
        assert (counted.categories, counted.writable) == ({"computed_differs": 1}, 1)
        carry_out(connection, repair)
        assert self.lengths(connection) == [(99, "ONE"), (3, "TWO"), (5, "THREE")]
        assert count(connection, repair, before=False).categories == {}

    def test_a_repair_without_keys_recomputes_no_existing_value(
        self, target: Target, connection: Connection
    ) -> None:
        self.filled(target, connection)
        repair = self.repair(categories=["computed_differs"])
        assert "only be repaired by key" in repair.refusal


def test_a_repair_stops_and_continues_where_it_was(target: Target, connection: Connection) -> None:
    BIGINT.create(connection)
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT n, 'House', 'open'"
        " FROM generate_series(1, 2000) AS n"
    )
    do_until(target, connection, PLAN, "backfill")
    connection.execute("ALTER TABLE things DISABLE TRIGGER USER")
    connection.execute("UPDATE things SET is_open = false WHERE id % 3 = 0")
    connection.execute("ALTER TABLE things ENABLE TRIGGER USER")
    (action,) = repairing().passes
    assert isinstance(action, Fill)
    job, stripes = new_job(connection, action)
    totals = work_off(connection, action, job, stripes)
    assert (totals.scanned, totals.updated) == (2000, 666)
    assert backfill.count_unfilled(connection, action, job) == 0


def test_a_fill_that_is_confined_leaves_and_counts_no_other_row(
    target: Target, connection: Connection
) -> None:
    BIGINT.create(connection)
    for number in range(4):
        BIGINT.insert(connection, number, kind="House", state="open")
    do_until(target, connection, PLAN, "map-values")
    whole = fill_of(PLAN, BIGINT.table)
    assert run_fill(connection, replace(whole, only=sql.SQL("t.id > 1"))).updated == 2
    assert BIGINT.count(connection, "t.kind_id IS NULL") == 2
