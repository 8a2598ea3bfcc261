"""What is looked at before a phase, each with the real situation that it is there for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from rollout import plan as r
from rollout.engine import preflight
from rollout.engine.preflight import Limits
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase, do_until
from tests.engine.preflight.runs import PLAN, done_until, item, run


def test_every_item_passes_in_every_phase_of_an_idle_database(
    target: Target, connection: Connection
) -> None:
    for number in range(5):
        report = run(target, number)
        assert report.of("blocks") + report.of("warns") == []
        assert report.of("unknown") == []
        assert report.refusal == ""
        assert len({i.name for i in report.items}) == len(report.items)
        assert all(i.evidence for i in report.items)
        do_phase(target, connection, PLAN, number)


def test_looking_changes_nothing_and_leaves_no_session_behind(
    target: Target, connection: Connection
) -> None:
    # Rows and catalog of this database alone: other tests write to others of the server.
    everything = (
        "SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM things AS t),"
        " (SELECT md5(string_agg(c.oid::text || c.relname, ',' ORDER BY c.oid)) FROM pg_class c),"
        " (SELECT count(*) FROM pg_attribute)"
    )
    before = connection.execute(everything).fetchone()
    run(target, 3)
    assert connection.execute(everything).fetchone() == before
    others = connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND state <> 'idle'"
    ).fetchone()
    assert others == (0,)


def test_a_plan_without_tables_can_be_looked_at(target: Target) -> None:
    empty = replace(PLAN, tables=(), translations=(), phases=(r.Phase(steps=()),) * 5)
    assert run(target, 2, empty).refusal == ""


def test_a_database_that_is_away_is_one_unknown_item() -> None:
    report = preflight.run(Target({"host": "/nowhere", "dbname": "x"}), PLAN, 1)
    assert [(i.name, i.level) for i in report.items] == [("the database", "unknown")]
    assert report.refusal == ""


@pytest.mark.slow
def test_a_question_that_takes_too_long_is_unknown_and_the_others_are_answered(
    target: Target, connection: Connection, app: Connection
) -> None:
    done_until(target, connection, 3)
    app.execute("BEGIN")
    app.execute("LOCK TABLE things")
    report = run(target, 3)
    app.execute("ROLLBACK")
    assert item(report, "nulls in things.kind_id").level == "unknown"
    assert item(report, "server version").level == "pass"


def test_questions_left_when_the_time_is_up_are_unknown(target: Target) -> None:
    report = preflight.run(target, PLAN, 1, limits=Limits(altogether=timedelta()))
    assert item(report, "rights").evidence == "Timed out."
    assert report.refusal == ""


def test_a_phase_that_stopped_in_its_middle_is_looked_at_without_what_it_changes(
    target: Target, connection: Connection
) -> None:
    do_until(target, connection, PLAN, "create-kinds")
    assert item(run(target, 1), "schema").level == "warns"
    assert item(run(target, 1, steps_done=0), "schema").level == "pass"


def compute_from_a_generated_column(connection: Connection) -> None:
    """What stops phase 2 and no phase before it changes."""
    connection.execute(
        "ALTER TABLE things DROP COLUMN kind,"
        " ADD COLUMN kind text GENERATED ALWAYS AS (upper(state)) STORED"
    )


class TestWhatBlocksALaterPhase:
    name = "generated columns of things"

    def test_a_later_phases_lasting_blocker_blocks_phase_0_and_names_its_phase(
        self, target: Target, connection: Connection
    ) -> None:
        compute_from_a_generated_column(connection)
        report = run(target, 0)
        early = item(report, self.name)
        assert (early.level, early.phase) == ("blocks", 2)
        assert "generated columns of things" in report.refusal

    def test_a_later_phases_blocker_is_a_warning_once_the_rollout_has_begun(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 1)
        compute_from_a_generated_column(connection)
        early = item(run(target, 1), self.name)
        assert (early.level, early.phase) == ("warns", 2)

    def test_phase_0_is_not_blocked_where_a_release_may_mend_it(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("CREATE VIEW houses AS SELECT id, kind FROM things")
        assert run(target, 0).refusal == ""


class TestReadiness:
    def test_readiness_goes_through_every_phase_and_ranks_its_findings(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("CREATE VIEW houses AS SELECT id, state FROM things")
        connection.execute("CREATE SEQUENCE numbers OWNED BY things.state")
        compute_from_a_generated_column(connection)
        readiness = preflight.readiness(target, PLAN, 0)
        assert [(i.level, i.phase, i.name) for i in readiness.items][:2] == [
            ("blocks", 2, "generated columns of things"),
            ("blocks", 4, "dependents of things (kind, state)"),
        ]
        assert ("warns", 4, "objects dropped with things (kind, state)") in [
            (i.level, i.phase, i.name) for i in readiness.items
        ]
        assert all(i.advice for i in readiness.items)
        assert (3, "nulls in things.kind_id") in readiness.later

    def test_an_idle_database_is_ready(self, target: Target) -> None:
        readiness = preflight.readiness(target, PLAN, 0)
        assert readiness.items == []
        assert readiness.worst == "pass"
        assert readiness.verdict.startswith("No problems found from phase 0 on.")

    def test_columns_that_phase_2_fills_are_asked_for_nulls_from_then_on(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 2)
        readiness = preflight.readiness(target, PLAN, 2)
        assert readiness.items == []
        assert (3, "nulls in things.kind_id") in readiness.later
        do_phase(target, connection, PLAN, 2)
        connection.execute(
            "SET session_replication_role = replica; UPDATE things SET kind_id = NULL"
        )
        (nulls,) = preflight.readiness(target, PLAN, 3).items
        assert (nulls.level, nulls.phase, nulls.name) == ("blocks", 3, "nulls in things.kind_id")

    def test_readiness_of_an_absent_database_is_one_unknown_item(self) -> None:
        readiness = preflight.readiness(Target({"host": "/nowhere", "dbname": "x"}), PLAN, 0)
        assert [(i.name, i.level) for i in readiness.items] == [("the database", "unknown")]
