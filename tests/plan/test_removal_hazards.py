"""What depends on a column that a step drops."""

import pytest

from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase
from tests.engine.preflight.runs import PLAN, done_until, item, run

pytestmark = pytest.mark.usefixtures("one_thing")


class TestWhatDependsOnATable:
    def test_a_dependent_view_does_not_block_a_phase_without_drops(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("CREATE VIEW houses AS SELECT id, kind FROM things")
        report = run(target, 1)
        assert item(report, "dependent views, functions and policies").evidence == "view houses"
        assert report.refusal == ""

    @pytest.mark.parametrize(
        ("made", "named"),
        [
            ("CREATE VIEW houses AS SELECT id, kind FROM things", "view houses"),
            (
                "CREATE MATERIALIZED VIEW counts AS SELECT kind, count(*) FROM things GROUP BY 1",
                "materialized view counts",
            ),
            (
                "CREATE FUNCTION kinds_of(bigint) RETURNS text LANGUAGE sql"
                " BEGIN ATOMIC SELECT kind FROM things WHERE id = $1; END",
                "function kinds_of(bigint)",
            ),
            ("CREATE POLICY only_houses ON things USING (kind = 'House')", "policy only_houses"),
            (
                "CREATE TRIGGER on_kind AFTER UPDATE OF kind ON things"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "trigger on_kind",
            ),
            ("CREATE PUBLICATION a_few FOR TABLE things (id, kind)", "publication a_few"),
            (
                "ALTER TABLE things ADD shout text GENERATED ALWAYS AS (upper(kind)) STORED",
                "column shout",
            ),
        ],
        ids=["view", "materialized view", "function", "policy", "trigger", "publication", "column"],
    )
    def test_a_dependent_view_blocks_the_phase_that_drops_its_column(
        self, made: str, named: str, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 4)
        connection.execute(made.encode())
        try:
            finding = item(run(target, 4), "dependents of things (kind, state)")
        finally:
            connection.execute("DROP PUBLICATION IF EXISTS a_few")
        assert finding.level == "blocks"
        assert named in finding.evidence

    def test_reported_blockers_really_block(self, target: Target, connection: Connection) -> None:
        done_until(target, connection, 4)
        connection.execute("CREATE VIEW houses AS SELECT id, kind FROM things")
        with pytest.raises(Exception, match="other objects depend on it"):
            do_phase(target, connection, PLAN, 4)

    def test_a_function_that_only_mentions_it_is_told(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 4)
        connection.execute(
            "CREATE FUNCTION teller() RETURNS bigint LANGUAGE plpgsql"
            " AS 'BEGIN RETURN (SELECT count(*) FROM Things WHERE KIND IS NULL); END'"
        )
        finding = item(run(target, 4), "functions that mention things (kind, state)")
        assert finding.level == "warns"
        assert "teller()" in finding.evidence

    def test_objects_dropped_silently_are_named_and_those_restored_are_not(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 4)
        name = "objects dropped with things (kind, state)"
        assert item(run(target, 4), name).level == "pass"
        connection.execute("CREATE INDEX of_the_application ON things (lower(state))")
        connection.execute("ALTER TABLE things ALTER state SET DEFAULT 'open'")
        connection.execute("ALTER TABLE things ADD CONSTRAINT short CHECK (length(kind) < 500)")
        # The rollback brings these back.
        assert item(run(target, 4), name).level == "pass"
        connection.execute("CREATE SEQUENCE numbers OWNED BY things.state")
        finding = item(run(target, 4), name)
        assert finding.level == "warns"
        assert "sequence numbers" in finding.evidence
        for thing in ("of_the_application", "default value", "constraint short", "legacy_idx"):
            assert thing not in finding.evidence
