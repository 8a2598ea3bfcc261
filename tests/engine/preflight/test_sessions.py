"""Transactions of others, and who waits for them."""

import threading

from rollout.engine import preflight
from rollout.engine.preflight import sessions
from rollout.engine.preflight.item import Scope
from rollout.engine.target import Connection, Target
from tests.engine.actions import wait_until_somebody_waits
from tests.engine.preflight.runs import PLAN, item, lower_role, run
from tests.engine.samples import BIGINT, PARTITIONED


class TestATransactionOfSomebodyElse:
    def test_an_idle_transaction_with_a_lock_on_a_table_blocks_the_phase(
        self, target: Target, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT count(*) FROM things")
        report = run(target)
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
        report = run(target)
        app.execute("COMMIT")
        idle = item(report, "idle in transaction")
        assert idle.level == "warns"
        assert report.refusal == ""

    def test_an_idle_transaction_does_not_block_a_phase_that_locks_nothing(
        self, target: Target, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT count(*) FROM things")
        report = run(target, 0)
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
        report = run(target)
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
        report = preflight.run(target, PLAN, 1)
        app.execute("COMMIT")
        assert item(report, "idle in transaction").level == "pass"

    def test_a_role_that_may_not_see_sessions_gets_unknown(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        with lower_role(target, connection) as lower:
            report = run(lower)
        hidden = item(report, "long transactions")
        assert hidden.level == "unknown"
        assert "pg_read_all_stats" in hidden.advice


def test_a_waiting_session_is_named_with_the_one_that_it_waits_for(
    target: Target, connection: Connection, app: Connection
) -> None:
    connection.execute("BEGIN")
    connection.execute("LOCK TABLE things IN SHARE MODE")
    waiter = threading.Thread(target=lambda: BIGINT.insert(app, 2))
    waiter.start()
    wait_until_somebody_waits(connection)
    report = run(target)
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
    report = run(target, plan=PARTITIONED.plan)
    connection.execute("COMMIT")
    waiter.join()
    assert "RowExclusiveLock on parted.early" in item(report, "ungranted locks").evidence


def test_a_role_that_cannot_make_autovacuum_yield_sooner_reads_what_to_grant(
    target: Target, connection: Connection
) -> None:
    scope = Scope(BIGINT.plan, 1, [])
    assert sessions.autovacuum(connection, scope).level == "pass"
    connection.execute("CREATE ROLE waits_for_vacuum")
    try:
        connection.execute("SET ROLE waits_for_vacuum")
        item = sessions.autovacuum(connection, scope)
        assert item.level == "info"
        assert "yields to DDL only after 1s" in item.evidence
        connection.execute("RESET ROLE")
        connection.execute("GRANT SET ON PARAMETER deadlock_timeout TO waits_for_vacuum")
        connection.execute("SET ROLE waits_for_vacuum")
        assert sessions.autovacuum(connection, scope).level == "pass"
    finally:
        connection.execute("RESET ROLE")
        connection.execute("DROP OWNED BY waits_for_vacuum; DROP ROLE waits_for_vacuum")
