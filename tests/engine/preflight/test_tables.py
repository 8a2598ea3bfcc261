"""What stands around the tables of a plan: indexes, triggers, views, publications."""

import pytest

from rollout.engine.target import Connection, Target
from tests.engine.preflight.runs import done_until, item, run


def test_an_index_that_an_interrupted_build_left_is_named(
    target: Target, connection: Connection
) -> None:
    connection.execute("INSERT INTO things (id, kind) VALUES (2, 'House')")
    with pytest.raises(Exception, match="could not create unique index"):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON things (kind)")
    finding = item(run(target), "invalid indexes")
    assert (finding.level, finding.evidence) == ("warns", "broken on things")


class TestATriggerOfTheApplication:
    @pytest.fixture(autouse=True)
    def trigger(self, connection: Connection) -> None:
        connection.execute(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'"
        )
        connection.execute(
            "CREATE TRIGGER note BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION noted()"
        )

    def test_a_foreign_trigger_is_named(self, target: Target) -> None:
        finding = item(run(target, 1), "other triggers")
        assert finding.level == "info"
        assert finding.evidence == "note on things, for each updated row"

    def test_a_foreign_trigger_is_a_warning_where_the_phase_writes_every_row(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 2)
        finding = item(run(target, 2), "other triggers")
        assert finding.level == "warns"

    def test_a_foreign_trigger_differs_from_the_engines_own(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("DROP TRIGGER note ON things")
        done_until(target, connection, 3)
        assert item(run(target, 3), "other triggers").evidence == ("No other triggers on things.")


def test_a_table_in_a_publication_is_told_where_its_columns_change(
    target: Target, connection: Connection
) -> None:
    connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    try:
        finding = item(run(target, 1), "publications")
        still = item(run(target, 0), "publications")
    finally:
        connection.execute("DROP PUBLICATION everything")
    assert finding.level == "warns"
    assert "everything publishes public.things" in finding.evidence
    assert still.level == "info"


def test_a_generated_column_that_a_translation_reads_keeps_the_dual_write_from_starting(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "ALTER TABLE things DROP COLUMN kind,"
        " ADD COLUMN kind text GENERATED ALWAYS AS (upper(state)) STORED"
    )
    finding = item(run(target, 2), "generated columns of things")
    assert (finding.level, finding.evidence) == (
        "blocks",
        "1 column that translations of things read is generated. Examples: kind.",
    )


def test_drift_is_reported_and_left_to_the_gate(target: Target, connection: Connection) -> None:
    connection.execute("ALTER TABLE things ADD is_open boolean")
    finding = item(run(target, 1), "schema")
    assert finding.level == "warns"
    assert finding.evidence == "things.is_open: expected no column in this phase, found boolean"
