"""What is wrong in a column of a row, by category, and what a repair makes of it."""

import pytest
from psycopg import sql

from rollout.engine.repair import (
    count,
    examples,
)
from rollout.engine.target import Connection, Target
from tests.engine.repairs import (
    STATE_MAPPING,
    carry_out,
    everything,
    mapped_rows,
    one_of_each_category,
    quietly,
    repairing,
)
from tests.engine.samples import BIGINT


class TestCategories:
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
        one_of_each_category(target, connection)
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
        one_of_each_category(target, connection)
        repair = repairing()
        counted = count(connection, repair)
        assert counted.writable == carry_out(connection, repair) == 6
        assert count(connection, repair).categories == {"unmapped": 1, "ambiguous": 2}
        assert BIGINT.name_of(connection, 8) is None

    @pytest.mark.parametrize("category", ["unmapped", "ambiguous", "inactive"])
    def test_unmapped_texts_are_refused_with_what_to_do_first(
        self, category: str, target: Target, connection: Connection
    ) -> None:
        one_of_each_category(target, connection)
        repair = repairing(categories=[category])
        assert "Review the mapping" in repair.refusal
        assert repair.passes == ()

    def test_a_wrong_value_is_left_where_the_mapping_is_in_doubt(
        self, target: Target, connection: Connection
    ) -> None:
        one_of_each_category(target, connection)
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
