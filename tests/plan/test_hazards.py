"""What the rows hold that a step would stumble over."""

import pytest

from rollout import plan as r
from rollout.engine.target import Connection, Target
from tests.engine.preflight.runs import PLAN, done_until, item, run
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT


class TestWhatTheDataHolds:
    @pytest.fixture(autouse=True)
    def three_phases_done(self, one_thing: None, target: Target, connection: Connection) -> None:
        done_until(target, connection, 3)

    def test_nulls_that_a_step_would_stumble_over_are_counted(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO things (id) SELECT n FROM generate_series(10, 14) AS n")
        connection.execute("SET session_replication_role = DEFAULT")
        finding = item(run(target, 3), "nulls in things.kind_id")
        assert finding.level == "blocks"
        assert (
            finding.evidence
            == "5 rows of things have NULL in kind_id. Examples: 10, 11, 12, 13, 14."
        )

    def test_no_more_are_counted_than_it_takes(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO things (id) SELECT n FROM generate_series(10, 2010) AS n")
        connection.execute("SET session_replication_role = DEFAULT")
        finding = item(run(target, 3), "nulls in things.is_open")
        assert finding.evidence.startswith("1,000 or more rows of things have NULL in is_open.")

    def test_orphans_are_named_by_their_keys(self, target: Target, connection: Connection) -> None:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE things SET kind_id = 999")
        connection.execute("SET session_replication_role = DEFAULT")
        finding = item(run(target, 3), "orphans in things.kind_id")
        assert finding.level == "blocks"
        assert finding.evidence == (
            "1 row of things has orphaned references in kind_id: no such row of kinds. Examples: 1."
        )

    def test_duplicates_that_a_unique_index_would_refuse_are_named(
        self, target: Target, connection: Connection
    ) -> None:
        unique = r.CreateIndex(
            id="unique",
            description="One of each",
            table=BIGINT.table,
            name="one_of_each",
            columns=("made_at", "is_open"),
            unique=True,
        )
        plan = with_step(PLAN, 3, unique)
        name = "duplicates of things (made_at, is_open)"
        assert item(run(target, 3, plan), name).level == "pass"
        BIGINT.insert(connection, 2, kind="Flat", state="open")
        finding = item(run(target, 3, plan), name)
        assert finding.level == "blocks"
        assert finding.evidence == (
            "1 duplicate value in things (made_at, is_open)."
            " Examples: 2024-05-06 07:08:09+00 t (2 rows: 1 … 2)."
        )

    def test_duplicates_of_a_view_to_come_are_named(
        self, target: Target, connection: Connection
    ) -> None:
        view = r.CreateMaterializedView(
            id="view",
            description="Count them",
            name="counts",
            query="SELECT kind_id, state_id FROM things",
            key=("kind_id",),
        )
        BIGINT.insert(connection, 2, kind="House")
        finding = item(run(target, 4, with_step(PLAN, 4, view)), "duplicates of counts (kind_id)")
        assert finding.level == "blocks"
        assert "1 row of counts would have a duplicate kind_id." in finding.evidence


@pytest.mark.usefixtures("one_thing")
def test_a_foreign_key_between_types_is_found(target: Target, connection: Connection) -> None:
    done_until(target, connection, 2)
    connection.execute("ALTER TABLE things ALTER kind_id TYPE bigint")
    finding = item(run(target, 3), "types of things.kind_id and kinds.id")
    assert finding.level == "blocks"
    assert "bigint and integer" in finding.evidence
