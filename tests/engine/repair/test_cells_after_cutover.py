"""Repairs once the new columns lead: the legacy texts follow them."""

import pytest
from psycopg import sql

from rollout.engine.repair import count, examples, refusal_to_repair
from rollout.engine.target import Connection, Target
from tests.engine.actions import audit, do_phase, do_until
from tests.engine.repairs import (
    KIND_MAPPING,
    MADE,
    PLAN,
    STATES,
    carry_out,
    everything,
    quietly,
    repairing,
)
from tests.engine.samples import BIGINT, COMPOSITE, ODD, PARTITIONED, Sample


class TestAfterTheCutover:
    def cut_over(
        self, sample: Sample, target: Target, connection: Connection, *kinds: str | None
    ) -> None:
        sample.create(connection)
        for number, kind in enumerate(kinds):
            sample.insert(connection, number, kind=kind, state="open")
        do_until(target, connection, sample.plan, "cut-over")

    @pytest.mark.parametrize("sample", [BIGINT, COMPOSITE, ODD, PARTITIONED], ids=str)
    def test_the_legacy_text_becomes_the_name_of_the_row_and_the_row_stays(
        self, sample: Sample, target: Target, connection: Connection
    ) -> None:
        self.cut_over(sample, target, connection, "House", " house", "Flat", "", "House")
        quietly(connection, sample, 0, kind="Flat")
        quietly(connection, sample, 1, kind=None)
        quietly(connection, sample, 3, kind="House")
        before = everything(connection, sample)
        repair = repairing(sample, "reverse")
        (example, *_) = examples(connection, repair)
        assert (example.column, example.before, example.after) == (
            sample.kind.legacy,
            "Flat",
            "House",
        )
        assert carry_out(connection, repair) == 3
        texts = [sample.row(connection, number, "kind") for number in range(5)]
        assert texts == ["House", "House", "Flat", None, "House"]
        after = everything(connection, sample)
        for key in after:
            for column, value in after[key][2].items():
                assert column == sample.kind.legacy or value == before[key][2][column]
        assert audit(target, sample.plan).mismatched == 0

    def test_a_text_without_a_value_goes(self, target: Target, connection: Connection) -> None:
        self.cut_over(BIGINT, target, connection, "House")
        quietly(connection, BIGINT, 0, state_id=None)
        assert carry_out(connection, repairing(direction="reverse", columns=["state_id"])) == 1
        # What is derived from the text follows it.
        assert BIGINT.row(connection, 0, "state", "state_id", "is_open", "opened_at") == (
            *(None, None, False, None),
        )
        assert audit(target, PLAN).mismatched == 0

    def test_derived_values_follow_the_written_text_not_the_one_before(
        self, target: Target, connection: Connection
    ) -> None:
        self.cut_over(BIGINT, target, connection, "House")
        BIGINT.insert(connection, 1, kind="House", state="sold")
        quietly(connection, BIGINT, 0, state="sold", is_open=True, opened_at=None)
        assert carry_out(connection, repairing(direction="reverse")) == 1
        assert BIGINT.row(connection, 0, "state", "is_open", "opened_at") == ("open", True, MADE)

    def test_a_value_without_its_row_follows_the_text_after_all(
        self, target: Target, connection: Connection
    ) -> None:
        self.cut_over(BIGINT, target, connection, "House")
        connection.execute(
            "ALTER TABLE things DROP CONSTRAINT things_state_id_7c1c57a4_fk_states_id"
        )
        quietly(connection, BIGINT, 0, state_id=4711)
        carry_out(connection, repairing(direction="reverse"))
        assert BIGINT.name_of(connection, 0, STATES) == "open"
        assert BIGINT.row(connection, 0, "state") == "open"

    def test_a_row_whose_name_was_mapped_elsewhere_is_left(
        self, target: Target, connection: Connection
    ) -> None:
        self.cut_over(BIGINT, target, connection, "House", "Flat")
        connection.execute(
            sql.SQL(
                "UPDATE {0} SET lookup_id = (SELECT id FROM kinds WHERE name = 'Flat')"
                " WHERE legacy = 'House'"
            ).format(KIND_MAPPING)
        )
        before = everything(connection)
        repair = repairing(direction="reverse", columns=["kind_id"])
        counted = count(connection, repair)
        assert (counted.categories, counted.writable) == ({"wrong": 1}, 0)
        carry_out(connection, repair)
        assert everything(connection) == before

    def test_rows_of_a_review_still_follow_the_mapping_and_keep_their_text(
        self, target: Target, connection: Connection
    ) -> None:
        self.cut_over(BIGINT, target, connection, "House", "Hut", "Hut")
        connection.execute(
            sql.SQL(
                "UPDATE {0} SET lookup_id = (SELECT id FROM kinds WHERE name = 'House')"
                " WHERE legacy = 'Hut'"
            ).format(KIND_MAPPING)
        )
        assert carry_out(connection, repairing(columns=["kind_id"], legacy=["Hut"])) == 2
        assert [BIGINT.name_of(connection, number) for number in range(3)] == ["House"] * 3
        assert [BIGINT.row(connection, number, "kind") for number in range(3)] == [
            *("House", "Hut", "Hut")
        ]

    def test_nothing_tells_what_is_right_once_the_legacy_text_is_gone(
        self, target: Target, connection: Connection
    ) -> None:
        self.cut_over(BIGINT, target, connection, "House")
        assert refusal_to_repair(connection, PLAN, BIGINT.table) == ""
        do_phase(target, connection, PLAN, 4)
        assert "things.kind is dropped" in refusal_to_repair(connection, PLAN, BIGINT.table)
