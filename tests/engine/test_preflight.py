"""What is looked at before a phase, each with the real situation that it is there for."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg import sql

from rollout import plan as r
from rollout.engine import preflight
from rollout.engine.mapping import Decision, decide
from rollout.engine.preflight import Item, Limits, Preflight
from rollout.engine.preflight import server as server_questions
from rollout.engine.preflight.probes import PROBES
from rollout.engine.target import Connection, Target
from tests.engine.actions import do_phase, do_until, wait_until_somebody_waits
from tests.engine.pooler import transaction_pooler
from tests.engine.samples import BIGINT, PARTITIONED, with_step

PLAN = BIGINT.plan
IMPATIENT = Limits(long_transaction=timedelta(), idle_transaction=timedelta())


@pytest.fixture(autouse=True)
def table(connection: Connection) -> None:
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House", state="open")


def look(target: Target, phase: int = 1, plan: r.Plan = PLAN, **more: object) -> Preflight:
    return preflight.look(target, plan, phase, limits=IMPATIENT, **more)  # type: ignore[arg-type]


def item(report: Preflight, name: str) -> Item:
    (finding,) = [i for i in report.items if i.name == name]
    return finding


def done_until(target: Target, connection: Connection, phases: int, plan: r.Plan = PLAN) -> None:
    for number in range(phases):
        do_phase(target, connection, plan, number)


@contextmanager
def lower_role(target: Target, connection: Connection) -> Iterator[Target]:
    """The target by way of a role that has no rights but to connect."""
    role = f"role_{uuid4().hex}"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    try:
        yield Target({**target.parameters, "user": role})
    finally:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_every_item_passes_in_every_phase_of_an_idle_database(
    target: Target, connection: Connection
) -> None:
    for number in range(5):
        report = look(target, number)
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
    look(target, 3)
    assert connection.execute(everything).fetchone() == before
    others = connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend' AND state <> 'idle'"
    ).fetchone()
    assert others == (0,)


def test_a_plan_without_tables_can_be_looked_at(target: Target) -> None:
    empty = replace(PLAN, tables=(), translations=(), phases=(r.Phase(steps=()),) * 5)
    assert look(target, 2, empty).refusal == ""


def test_a_database_that_is_away_is_one_unknown_item() -> None:
    report = preflight.look(Target({"host": "/nowhere", "dbname": "x"}), PLAN, 1)
    assert [(i.name, i.level) for i in report.items] == [("the database", "unknown")]
    assert report.refusal == ""


@pytest.mark.slow
def test_a_question_that_takes_too_long_is_unknown_and_the_others_are_answered(
    target: Target, connection: Connection, app: Connection
) -> None:
    done_until(target, connection, 3)
    app.execute("BEGIN")
    app.execute("LOCK TABLE things")
    report = look(target, 3)
    app.execute("ROLLBACK")
    assert item(report, "nulls in things.kind_id").level == "unknown"
    assert item(report, "server version").level == "pass"


def test_when_the_time_for_all_has_passed_the_rest_is_unknown(target: Target) -> None:
    report = preflight.look(target, PLAN, 1, limits=Limits(altogether=timedelta()))
    assert item(report, "rights").evidence == "Timed out."
    assert report.refusal == ""


class TestATransactionOfSomebodyElse:
    def test_an_idle_transaction_with_a_lock_on_a_table_blocks_the_phase(
        self, target: Target, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT count(*) FROM things")
        report = look(target)
        app.execute("COMMIT")
        idle = item(report, "idle in transaction")
        assert idle.level == "blocks"
        assert f"PID {app.info.backend_pid} (the application, idle in transaction" in idle.evidence
        assert "holds a lock on a table of the plan" in idle.evidence
        assert report.refusal.startswith("Preflight “idle in transaction”: PID")
        assert ". Ask its owner to end it" in report.refusal

    def test_an_idle_transaction_without_a_lock_is_a_warning(
        self, target: Target, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT 1")
        report = look(target)
        app.execute("COMMIT")
        idle = item(report, "idle in transaction")
        assert idle.level == "warns"
        assert report.refusal == ""

    def test_an_idle_transaction_does_not_block_a_phase_that_locks_nothing(
        self, target: Target, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT count(*) FROM things")
        report = look(target, 0)
        app.execute("COMMIT")
        assert item(report, "idle in transaction").level == "warns"
        assert report.refusal == ""

    def test_a_long_transaction_at_work_differs_from_an_idle_one(
        self, target: Target, app: Connection, connection: Connection
    ) -> None:
        connection.execute("SELECT pg_advisory_lock(4711)")
        waiter = threading.Thread(
            target=lambda: app.execute("SELECT pg_advisory_lock(4711) FROM things")
        )
        waiter.start()
        wait_until_somebody_waits(connection)
        report = look(target)
        connection.execute("SELECT pg_advisory_unlock(4711)")
        waiter.join()
        long = item(report, "long transactions")
        assert long.level == "blocks"
        assert "(the application, active, open for 0 s" in long.evidence
        assert item(report, "idle in transaction").level == "pass"

    def test_a_transaction_that_has_just_begun_is_ignored(
        self, target: Target, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT count(*) FROM things")
        report = preflight.look(target, PLAN, 1)
        app.execute("COMMIT")
        assert item(report, "idle in transaction").level == "pass"

    def test_a_role_that_may_not_see_sessions_gets_unknown(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        with lower_role(target, connection) as lower:
            report = look(lower)
        hidden = item(report, "long transactions")
        assert hidden.level == "unknown"
        assert "pg_read_all_stats" in hidden.advice


def test_who_waits_for_a_lock_is_named_with_whom_he_waits_for(
    target: Target, connection: Connection, app: Connection
) -> None:
    connection.execute("BEGIN")
    connection.execute("LOCK TABLE things IN SHARE MODE")
    waiter = threading.Thread(target=lambda: BIGINT.insert(app, 2))
    waiter.start()
    wait_until_somebody_waits(connection)
    report = look(target)
    connection.execute("COMMIT")
    waiter.join()
    waiting = item(report, "ungranted locks")
    assert waiting.level == "warns"
    assert waiting.evidence == (
        f"PID {app.info.backend_pid} (the application) is waiting for RowExclusiveLock on things, "
        f"blocked by PID {connection.info.backend_pid}"
    )


def test_a_waiter_on_a_partition_is_a_waiter_on_its_table(
    target: Target, connection: Connection, app: Connection
) -> None:
    PARTITIONED.create(connection)
    connection.execute("BEGIN")
    connection.execute("LOCK TABLE parted.early IN SHARE MODE")
    waiter = threading.Thread(
        target=lambda: app.execute("INSERT INTO parted.early (place, id) VALUES (1, 1)")
    )
    waiter.start()
    wait_until_somebody_waits(connection)
    report = look(target, plan=PARTITIONED.plan)
    connection.execute("COMMIT")
    waiter.join()
    assert "RowExclusiveLock on parted.early" in item(report, "ungranted locks").evidence


def test_an_index_that_an_interrupted_build_left_is_named(
    target: Target, connection: Connection
) -> None:
    connection.execute("INSERT INTO things (id, kind) VALUES (2, 'House')")
    with pytest.raises(Exception, match="could not create unique index"):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON things (kind)")
    finding = item(look(target), "invalid indexes")
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
        finding = item(look(target, 1), "other triggers")
        assert finding.level == "info"
        assert finding.evidence == "note on things, for each updated row"

    def test_a_foreign_trigger_is_a_warning_where_the_phase_writes_every_row(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 2)
        finding = item(look(target, 2), "other triggers")
        assert finding.level == "warns"

    def test_a_foreign_trigger_differs_from_the_engines_own(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("DROP TRIGGER note ON things")
        done_until(target, connection, 3)
        assert item(look(target, 3), "other triggers").evidence == ("No other triggers on things.")


class TestWhatDependsOnATable:
    def test_a_dependent_view_does_not_block_a_phase_without_drops(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("CREATE VIEW houses AS SELECT id, kind FROM things")
        report = look(target, 1)
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
            finding = item(look(target, 4), "dependents of things (kind, state)")
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
        finding = item(look(target, 4), "functions that mention things (kind, state)")
        assert finding.level == "warns"
        assert "teller()" in finding.evidence

    def test_what_goes_silently_is_named_and_what_comes_back_is_not(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 4)
        name = "objects dropped with things (kind, state)"
        assert item(look(target, 4), name).level == "pass"
        connection.execute("CREATE INDEX of_the_application ON things (lower(state))")
        connection.execute("ALTER TABLE things ALTER state SET DEFAULT 'open'")
        connection.execute("ALTER TABLE things ADD CONSTRAINT short CHECK (length(kind) < 500)")
        # The rollback brings these back.
        assert item(look(target, 4), name).level == "pass"
        connection.execute("CREATE SEQUENCE numbers OWNED BY things.state")
        finding = item(look(target, 4), name)
        assert finding.level == "warns"
        assert "sequence numbers" in finding.evidence
        for thing in ("of_the_application", "default value", "constraint short", "legacy_idx"):
            assert thing not in finding.evidence


def test_a_table_in_a_publication_is_told_where_its_columns_change(
    target: Target, connection: Connection
) -> None:
    connection.execute("CREATE PUBLICATION everything FOR ALL TABLES")
    try:
        finding = item(look(target, 1), "publications")
        still = item(look(target, 0), "publications")
    finally:
        connection.execute("DROP PUBLICATION everything")
    assert finding.level == "warns"
    assert "everything publishes public.things" in finding.evidence
    assert still.level == "info"


class TestWhatTheDataHolds:
    @pytest.fixture(autouse=True)
    def backfilled(self, target: Target, connection: Connection) -> None:
        done_until(target, connection, 3)

    def test_nulls_that_a_step_would_stumble_over_are_counted(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO things (id) SELECT n FROM generate_series(10, 14) AS n")
        connection.execute("SET session_replication_role = DEFAULT")
        finding = item(look(target, 3), "nulls in things.kind_id")
        assert finding.level == "blocks"
        assert finding.evidence == "5 rows of things have NULL in kind_id. Examples: 10, 11, 12."

    def test_no_more_are_counted_than_it_takes(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("SET session_replication_role = replica")
        connection.execute("INSERT INTO things (id) SELECT n FROM generate_series(10, 2010) AS n")
        connection.execute("SET session_replication_role = DEFAULT")
        finding = item(look(target, 3), "nulls in things.is_open")
        assert finding.evidence.startswith("1,000 or more rows of things have NULL in is_open.")

    def test_orphans_are_named_by_their_keys(self, target: Target, connection: Connection) -> None:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE things SET kind_id = 999")
        connection.execute("SET session_replication_role = DEFAULT")
        finding = item(look(target, 3), "orphans in things.kind_id")
        assert finding.level == "blocks"
        assert finding.evidence == (
            "1 rows of things have orphaned references in kind_id: no such row of kinds. "
            "Examples: 1."
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
        assert item(look(target, 3, plan), name).level == "pass"
        BIGINT.insert(connection, 2, kind="Flat", state="open")
        finding = item(look(target, 3, plan), name)
        assert finding.level == "blocks"
        assert "1 duplicate values in things (made_at, is_open)." in finding.evidence

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
        finding = item(look(target, 4, with_step(PLAN, 4, view)), "duplicates of counts (kind_id)")
        assert finding.level == "blocks"
        assert "1 rows of counts would have a duplicate kind_id." in finding.evidence


def test_a_foreign_key_between_types_is_found(target: Target, connection: Connection) -> None:
    done_until(target, connection, 2)
    connection.execute("ALTER TABLE things ALTER kind_id TYPE bigint")
    finding = item(look(target, 3), "types of things.kind_id and kinds.id")
    assert finding.level == "blocks"
    assert "bigint and integer" in finding.evidence


def test_what_cannot_be_asked_yet_is_unknown_and_says_when(target: Target) -> None:
    finding = item(look(target, 3), "nulls in things.kind_id")
    assert finding.level == "unknown"
    assert finding.evidence == "Cannot be checked yet: column t.kind_id does not exist."


def test_a_generated_column_that_a_translation_reads_keeps_the_dual_write_from_starting(
    target: Target, connection: Connection
) -> None:
    connection.execute(
        "ALTER TABLE things DROP COLUMN kind,"
        " ADD COLUMN kind text GENERATED ALWAYS AS (upper(state)) STORED"
    )
    finding = item(look(target, 2), "generated columns of things")
    assert (finding.level, finding.evidence) == (
        "blocks",
        "1 columns that translations of things read are generated. Examples: kind.",
    )


def test_texts_too_long_for_a_lookup_row_are_listed_until_somebody_decides_on_them(
    target: Target, connection: Connection
) -> None:
    long = "A house with " + "very " * 50 + "many rooms"
    name = "texts too long for a lookup row"
    assert item(look(target, 1), name).level == "pass"
    BIGINT.insert(connection, 2, kind=long, state="open")
    BIGINT.insert(connection, 3, kind=long, state=" " * 300)
    finding = item(look(target, 1), name)
    assert (finding.level, finding.evidence) == (
        "warns",
        "things.kind has 1 text of more than 200 characters: "
        f"“A house with very very very very very ve…” ({len(long)} characters).",
    )
    assert "in the mapping review" in finding.advice
    done_until(target, connection, 2)
    assert item(look(target, 2), name).level == "warns"
    decide(connection, PLAN, BIGINT.kind, {long: Decision("House")}, reviewer="ada", keep=True)
    assert item(look(target, 2), name).level == "pass"
    do_phase(target, connection, PLAN, 2)


def test_drift_is_told_and_left_to_the_gate(target: Target, connection: Connection) -> None:
    connection.execute("ALTER TABLE things ADD is_open boolean")
    finding = item(look(target, 1), "schema")
    assert finding.level == "warns"
    assert finding.evidence == "things.is_open: expected no column in this phase, found boolean"


def test_a_role_that_owns_nothing_may_not_start(target: Target, connection: Connection) -> None:
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with lower_role(target, connection) as lower:
        finding = item(look(lower), "rights")
        role = lower.parameters["user"]
    assert finding.level == "blocks"
    assert f"{role} does not own public.things; postgres does" in finding.evidence
    assert f"{role} lacks CREATE on schema public" in finding.evidence


def test_a_direct_connection_is_told_from_one_by_way_of_a_pooler(
    target: Target,
) -> None:
    assert item(look(target), "direct connection").level == "pass"
    # A socket's path has room for no long name.
    with (
        tempfile.TemporaryDirectory(prefix="pooler-") as directory,
        transaction_pooler(target, Path(directory)) as pooled,
    ):
        finding = item(look(pooled), "direct connection")
    assert finding.level == "blocks"
    assert finding.evidence.startswith("Connected through a transaction-mode pooler")


class TestTheDisk:
    def test_the_disk_is_seen_over_a_socket_of_this_machine(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 2)
        finding = item(look(target, 2), "free disk")
        assert finding.level == "pass"
        assert " free." in finding.evidence

    def test_without_room_enough_keeps_the_phase_from_starting(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done_until(target, connection, 2)
        monkeypatch.setattr(server_questions, "SPARE_FACTOR", 1e12)
        assert item(look(target, 2), "free disk").level == "blocks"

    def test_the_disk_of_another_machine_is_left_to_its_operators(
        self, target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done_until(target, connection, 2)
        connection.execute("SELECT 1")
        monkeypatch.setattr("os.statvfs", _refused)
        finding = item(look(target, 2), "free disk")
        assert finding.level == "info"
        assert "free space is not visible from here" in finding.evidence


def _refused(path: object) -> None:
    raise PermissionError


def test_a_phase_that_stopped_in_its_middle_is_looked_at_without_what_it_changes(
    target: Target, connection: Connection
) -> None:
    do_until(target, connection, PLAN, "create-kinds")
    assert item(look(target, 1), "schema").level == "warns"
    assert item(look(target, 1, steps_done=0), "schema").level == "pass"


def compute_from_a_generated_column(connection: Connection) -> None:
    """What phase 2 cannot bear and no phase before it changes."""
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
        report = look(target, 0)
        early = item(report, self.name)
        assert (early.level, early.phase) == ("blocks", 2)
        assert "generated columns of things" in report.refusal

    def test_a_later_phases_blocker_is_a_warning_once_the_rollout_has_begun(
        self, target: Target, connection: Connection
    ) -> None:
        done_until(target, connection, 1)
        compute_from_a_generated_column(connection)
        early = item(look(target, 1), self.name)
        assert (early.level, early.phase) == ("warns", 2)

    def test_blocks_phase_0_not_where_a_release_may_mend_it(
        self, target: Target, connection: Connection
    ) -> None:
        connection.execute("CREATE VIEW houses AS SELECT id, kind FROM things")
        assert look(target, 0).refusal == ""


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

    def test_readiness_of_an_absent_database_is_one_unknown_item(self) -> None:
        readiness = preflight.readiness(Target({"host": "/nowhere", "dbname": "x"}), PLAN, 0)
        assert [(i.name, i.level) for i in readiness.items] == [("the database", "unknown")]


def test_every_probe_is_about_a_phase_and_has_a_name_of_its_own() -> None:
    assert all(probe.phases for probe in PROBES)
    assert len({probe.name for probe in PROBES}) == len(PROBES)
