"""Repairs against a plain model: what was selected is right afterwards, all else is as it was."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import sql

from rollout.engine import backfill, ddl
from rollout.engine.repair import (
    NothingSelected,
    RepairDirection,
    RepairPlan,
    Selection,
    count,
    examples,
)
from rollout.engine.repair.cells import SELECTABLE
from rollout.engine.repair.selection import MAX_KEYS
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Compute, Fill, Statement
from rollout.plan.names import in_target
from rollout.plan.transition import fill as fill_of
from tests.engine import test_backfill_computed as pictures
from tests.engine.actions import NoControl, audit, do_until, new_job, run_fill, work_off
from tests.engine.samples import BIGINT, DIRTY, SAMPLES, Sample

PLAN = BIGINT.plan
KINDS, STATES = BIGINT.kind, BIGINT.state
KIND_MAPPING = in_target(KINDS.mapping_name(PLAN.name))
STATE_MAPPING = in_target(STATES.mapping_name(PLAN.name))
COLUMNS = ("kind_id", "state_id", "is_open", "opened_at")
MADE = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def repairing(
    sample: Sample = BIGINT, direction: RepairDirection = "forward", **selection: Any
) -> RepairPlan:
    return RepairPlan(sample.plan, sample.table, Selection.of(selection), direction=direction)


def carry_out(connection: Connection, repair: RepairPlan) -> int:
    """Carry every pass of a repair out, as a worker does; the rows that were written."""
    written = 0
    for action in repair.passes:
        if isinstance(action, Statement):
            ddl.apply(connection, action, NoControl())
        elif isinstance(action, Fill | Compute):
            written += run_fill(connection, action).updated
    return written


def quietly(connection: Connection, sample: Sample, number: int, **values: Any) -> None:
    """Write a row as no trigger sees it: damage."""
    switch = sql.SQL("ALTER TABLE {} {} TRIGGER USER")
    connection.execute(switch.format(sample.table.identifier, sql.SQL("DISABLE")))
    sample.update(connection, number, **values)
    connection.execute(switch.format(sample.table.identifier, sql.SQL("ENABLE")))


def everything(connection: Connection, sample: Sample = BIGINT) -> dict[Any, Any]:
    """Every row with the version that it is in: a row that was written has another one."""
    rows = connection.execute(
        sql.SQL("SELECT {}, t.ctid::text, t.xmin::text, to_jsonb(t) FROM {} AS t").format(
            sql.SQL("jsonb_build_array({})").format(sample.table.key_of("t")),
            sample.table.identifier,
        )
    ).fetchall()
    return {tuple(key): tuple(rest) for key, *rest in rows}


def mapped_rows(target: Target, connection: Connection, *kinds: str | None) -> None:
    """Rows of those kinds, all of them open and filled, with the dual write on."""
    BIGINT.create(connection)
    for number, kind in enumerate(kinds):
        BIGINT.insert(connection, number, kind=kind, state="open")
    do_until(target, connection, PLAN, "backfill")


def cast_doubt(connection: Connection, text: str, what: str) -> None:
    """Have the mapping say of a text that nobody knows, or another thing than of its likes."""
    change = {
        "unmapped": "UPDATE {} SET lookup_id = NULL, why = 'unmapped' WHERE legacy = {}",
        "no value": "UPDATE {} SET lookup_id = NULL, why = 'no_value' WHERE legacy = {}",
        "new": "DELETE FROM {} WHERE legacy = {}",
        "astray": "UPDATE {} SET why = 'reviewed', lookup_id = (SELECT max(id) FROM kinds)"
        " WHERE legacy = {}",
        "none": "",
    }[what]
    if change:
        connection.execute(sql.SQL(change).format(KIND_MAPPING, sql.Literal(text)))


class TestCategories:
    def damaged(self, target: Target, connection: Connection) -> None:
        """One row of every category: its number says which, and row 9 is right."""
        texts = ["House"] * 6 + ["Astray", "astray", "Castle", "House"]
        mapped_rows(target, connection, *texts)
        flat = BIGINT.lookup_id(connection, "Flat")
        connection.execute(
            sql.SQL(
                "UPDATE {} SET lookup_id = NULL, why = 'unmapped' WHERE legacy = 'Castle'"
            ).format(KIND_MAPPING)
        )
        connection.execute(
            sql.SQL("UPDATE {} SET lookup_id = {} WHERE legacy = 'astray'").format(
                KIND_MAPPING, sql.Literal(flat)
            )
        )
        quietly(connection, BIGINT, 0, kind_id=None)
        quietly(connection, BIGINT, 1, kind_id=flat)
        quietly(connection, BIGINT, 2, kind_id=4711)
        quietly(connection, BIGINT, 3, state=None, is_open=False, opened_at=None)
        quietly(connection, BIGINT, 4, opened_at=None)
        quietly(connection, BIGINT, 5, is_open=False)
        quietly(connection, BIGINT, 7, kind_id=flat)
        quietly(connection, BIGINT, 8, kind_id=None)

    def test_categories_are_counted_as_the_audit_counts_them(
        self, target: Target, connection: Connection
    ) -> None:
        self.damaged(target, connection)
        categories = {t.column: t.categories for t in audit(target, PLAN).translations}
        for column in COLUMNS:
            for category in SELECTABLE:
                counted = count(connection, repairing(columns=[column], categories=[category]))
                assert counted.rows == categories[column].get(category, 0), (column, category)

    @pytest.mark.parametrize(
        ("category", "column", "number"),
        [
            ("missing", "kind_id", 0),
            ("wrong", "kind_id", 1),
            ("orphan", "kind_id", 2),
            ("unexpected", "state_id", 3),
            ("missing", "opened_at", 4),
            ("computed_differs", "is_open", 5),
        ],
    )
    def test_a_category_is_repaired_by_itself(
        self, category: str, column: str, number: int, target: Target, connection: Connection
    ) -> None:
        self.damaged(target, connection)
        before = everything(connection)
        repair = repairing(columns=[column], categories=[category])
        assert count(connection, repair).categories == {category: 1}
        (example,) = examples(connection, repair)
        assert (example.key, example.column, example.category) == (str(number), column, category)
        assert carry_out(connection, repair) == 1
        after = everything(connection)
        assert {key for key in after if after[key] != before[key]} == {(number,)}
        assert count(connection, repair).rows == 0

    def test_all_that_can_be_repaired_is_right_afterwards_and_the_rest_is_left(
        self, target: Target, connection: Connection
    ) -> None:
        self.damaged(target, connection)
        repair = repairing()
        counted = count(connection, repair)
        assert counted.writable == carry_out(connection, repair) == 6
        assert count(connection, repair).categories == {"unmapped": 1, "ambiguous": 2}
        assert BIGINT.name_of(connection, 8) is None

    @pytest.mark.parametrize("category", ["unmapped", "ambiguous", "inactive"])
    def test_unmapped_texts_are_refused_with_what_to_do_first(
        self, category: str, target: Target, connection: Connection
    ) -> None:
        self.damaged(target, connection)
        repair = repairing(categories=[category])
        assert "Review the mapping" in repair.refusal
        assert repair.passes == ()

    def test_a_wrong_value_is_left_where_the_mapping_is_in_doubt(
        self, target: Target, connection: Connection
    ) -> None:
        self.damaged(target, connection)
        quietly(connection, BIGINT, 7, kind_id=BIGINT.lookup_id(connection, "House"))
        counted = count(connection, repairing(columns=["kind_id"], legacy=["astray"]))
        assert (counted.categories, counted.writable) == ({"wrong": 1}, 0)

    def test_a_value_that_is_no_longer_in_use_is_none_to_repair(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House", "Flat")
        connection.execute("UPDATE kinds SET active = false WHERE name = 'Flat'")
        counted = count(connection, repairing(categories=["inactive"]))
        assert (counted.categories, counted.writable) == ({"inactive": 1}, 0)

    def test_a_text_that_was_decided_to_have_no_value_loses_it(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House")
        connection.execute(
            sql.SQL(
                "UPDATE {} SET lookup_id = NULL, why = 'no_value' WHERE legacy = 'open'"
            ).format(STATE_MAPPING)
        )
        repair = repairing(columns=["state_id"])
        assert count(connection, repair).categories == {"unexpected": 1}
        carry_out(connection, repair)
        assert BIGINT.row(connection, 0, "state_id") is None

    def test_a_row_with_a_text_that_is_new_is_not_written_so_that_nothing_is_invented(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House")
        quietly(connection, BIGINT, 0, kind="Castle", kind_id=None, is_open=None)
        before = everything(connection)
        repair = repairing()
        assert count(connection, repair).writable == 0
        assert carry_out(connection, repair) == 0
        assert everything(connection) == before
        assert connection.execute("SELECT name FROM kinds WHERE name = 'Castle'").rowcount == 0


class TestSelection:
    @pytest.mark.parametrize("sample", SAMPLES, ids=str)
    def test_rows_are_selected_by_their_keys_whatever_these_are(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        sample.create(connection)
        for number in range(12):
            sample.insert(connection, number, kind=DIRTY[number], state="Open")
        do_until(target, connection, sample.plan, "backfill")
        for number in range(12):
            quietly(connection, sample, number, kind_id=None, is_open=False)
        before = everything(connection, sample)
        keys = [tuple(map(str, sample.make_key(number))) for number in (3, 7)]
        repair = repairing(sample, keys=keys, columns=[sample.kind.column])
        assert count(connection, repair).categories == {"missing": 2}
        assert carry_out(connection, repair) == 2
        after = everything(connection, sample)
        changed = {key for key in after if after[key][2] != before[key][2]}
        assert {tuple(map(str, key)) for key in changed} == set(keys)
        assert sample.row(connection, 3, "kind_id") is not None

    def test_rows_are_selected_by_their_legacy_text_and_null_by_the_empty_one(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House", "house", "Flat", None, "")
        for number in range(5):
            quietly(connection, BIGINT, number, kind_id=4711)
        repair = repairing(columns=["kind_id"], legacy=["house", None])
        assert carry_out(connection, repair) == 3
        names = [BIGINT.name_of(connection, number) for number in range(5)]
        assert names == [None, "House", None, "Unspecified", "Unspecified"]

    def test_columns_that_are_not_selected_stay_as_they_are(
        self, target: Target, connection: Connection
    ) -> None:
        mapped_rows(target, connection, "House", "Flat")
        flat = BIGINT.row(connection, 1, "kind_id")
        quietly(connection, BIGINT, 0, kind_id=flat, is_open=False)
        carry_out(connection, repairing(columns=["is_open"]))
        assert BIGINT.row(connection, 0, "kind_id", "is_open") == (flat, True)

    @pytest.mark.parametrize(
        ("selection", "message"),
        [
            ({"columns": ["price"]}, "The plan fills no column price of things"),
            ({"categories": ["ok"]}, "Category ok has no rows to repair"),
            ({"keys": []}, "No rows selected"),
            ({"legacy": []}, "No rows selected"),
            ({"keys": [["1", "2"]]}, "A key of things has the parts id"),
            ({"keys": [[str(n)] for n in range(MAX_KEYS + 1)]}, "Select by category"),
            ({"rows": 3}, "Unknown part of the selection: rows"),
        ],
    )
    def test_a_selection_that_means_nothing_says_so(
        self, selection: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(NothingSelected, match=message):
            repairing(**selection)

    def test_a_selection_survives_the_journal(self) -> None:
        selection = Selection.of({"columns": ["kind_id"], "legacy": ["a", None], "keys": [["1"]]})
        assert Selection.of(selection.as_json) == selection


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
