"""The planner: what it chooses and why, and what it says a pass will cost."""

import pytest

from rollout.engine import ddl, lanes, planner
from rollout.engine.target import Connection, Target
from rollout.plan.actions import Fill
from rollout.plan.transition import fill as fill_of
from rollout.plan.transition import triggers
from tests.engine.actions import NoControl, do_phase
from tests.engine.samples import BIGINT, PARTITIONED
from tests.engine.things import FILL, PLAN, legacy_rows


class TestTheChoiceOfStripes:
    def test_the_number_of_stripes_follows_the_rows_in_a_page_and_says_why(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        connection.execute("ANALYZE things")
        chosen = planner.choose(connection, FILL)
        assert chosen.stripes == 16
        assert chosen.blocks == sum(leaf.blocks for leaf in lanes.leaves(connection, BIGINT.table))
        assert 1_800 < chosen.estimated_rows < 2_200
        assert "16 stripes" in chosen.explanation
        assert "HOT" in chosen.explanation

    def test_wide_rows_get_one_stripe(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 0)
        connection.execute(
            "ALTER TABLE things ALTER note SET STORAGE PLAIN;"
            "INSERT INTO things (id, note)"
            " SELECT n, repeat('x', 3000) FROM generate_series(1, 50) AS n"
        )
        assert planner.choose(connection, FILL).stripes == 1

    @pytest.mark.parametrize(
        "definition",
        ["(note, is_open)", "(note) INCLUDE (is_open)", "(note) WHERE is_open", "((NOT is_open))"],
    )
    def test_names_the_index_that_makes_striping_useless(
        self, definition: str, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 2_000)
        connection.execute(f'CREATE INDEX "In the way" ON things {definition}'.encode())
        chosen = planner.choose(connection, FILL)
        assert chosen.stripes == 1
        assert '"In the way"' in chosen.explanation

    def test_the_choice_sees_an_index_that_only_one_partition_has(
        self, target: Target, connection: Connection
    ) -> None:
        PARTITIONED.create(connection)
        do_phase(target, connection, PARTITIONED.plan, 1)
        fill = fill_of(PARTITIONED.plan, PARTITIONED.table)
        assert "No index covers" in planner.choose(connection, fill).explanation
        connection.execute('CREATE INDEX one_has_it ON "parted"."early" (is_open)')
        assert "one_has_it" in planner.choose(connection, fill).explanation

    def test_the_choice_needs_no_statistics(self, target: Target, connection: Connection) -> None:
        legacy_rows(target, connection, 2_000)
        chosen = planner.choose(connection, FILL)
        assert chosen.stripes > 1
        assert 1_800 < chosen.estimated_rows < 2_200

    @pytest.mark.parametrize("analyzed", [True, False])
    def test_the_choice_adds_the_partitions_up(
        self, analyzed: bool, target: Target, connection: Connection
    ) -> None:
        PARTITIONED.create(connection)
        for number in range(400):
            PARTITIONED.insert(connection, number, kind="House")
        if analyzed:
            connection.execute('ANALYZE "parted"."things"')
        do_phase(target, connection, PARTITIONED.plan, 1)
        chosen = planner.choose(connection, fill_of(PARTITIONED.plan, PARTITIONED.table))
        leaves = lanes.leaves(connection, PARTITIONED.table)
        assert chosen.blocks == sum(leaf.blocks for leaf in leaves)
        assert chosen.estimated_rows == 400


class TestAnEstimate:
    def test_an_estimate_says_rows_time_wal_and_disk_and_changes_nothing(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 3_000)
        before = connection.execute("SELECT ctid, xmin, t.* FROM things t ORDER BY id").fetchall()
        estimate = planner.estimate(connection, FILL)
        after = connection.execute("SELECT ctid, xmin, t.* FROM things t ORDER BY id").fetchall()
        assert after == before
        assert 2_700 < estimate.rows < 3_300
        assert estimate.sampled_rows > 0
        # No machine writes a row in less than a tenth of a microsecond, or without a line of WAL.
        assert 3_000 * 1e-7 < estimate.seconds < 60
        assert 3_000 * 30 < estimate.wal_bytes < 3_000 * 10_000
        assert 3_000 * 24 < estimate.disk_bytes < 3_000 * 1_000

    def test_an_estimate_can_be_had_before_there_is_a_mapping(
        self, target: Target, connection: Connection
    ) -> None:
        BIGINT.create(connection)
        BIGINT.insert(connection, 1, kind="House", state="open")
        do_phase(target, connection, PLAN, 1)
        estimate = planner.estimate(connection, FILL)
        assert (estimate.rows, estimate.sampled_rows > 0) == (1, True)

    def test_a_table_with_no_row_to_write_costs_nothing(
        self, target: Target, connection: Connection
    ) -> None:
        legacy_rows(target, connection, 0)
        assert planner.estimate(connection, FILL).seconds == 0
        clear = clearing()
        ddl.apply(connection, triggers(PLAN, BIGINT.table).remove(), NoControl())
        BIGINT.insert(connection, 1, kind="House")
        assert planner.estimate(connection, clear).wal_bytes == 0

    def test_an_estimate_leaves_out_what_the_application_holds_or_the_database_refuses(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        legacy_rows(target, connection, 8_000)
        connection.execute("ALTER TABLE things ADD CHECK (id <> 8000 OR kind_id IS NULL) NOT VALID")
        app.execute("BEGIN")
        app.execute("SELECT FROM things WHERE id = 1 FOR UPDATE")
        estimate = planner.estimate(connection, FILL)
        app.execute("COMMIT")
        assert 7_200 < estimate.rows < 8_800
        assert estimate.sampled_rows > 0

    def test_estimate_covers_all_partitions(self, target: Target, connection: Connection) -> None:
        PARTITIONED.create(connection)
        for number in range(60):
            PARTITIONED.insert(connection, number, kind="House")
        do_phase(target, connection, PARTITIONED.plan, 1)
        estimate = planner.estimate(connection, fill_of(PARTITIONED.plan, PARTITIONED.table))
        assert (estimate.rows, estimate.sampled_rows) == (60, 60)


def clearing() -> Fill:
    *_, clear = PLAN.step(2, "dual-write").backward(PLAN) or ()
    assert isinstance(clear, Fill)
    return clear
