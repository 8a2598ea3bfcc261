"""Whose session is never touched, and that one which is gone or has changed is left alone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from rollout.engine import blockers, statement_activities
from rollout.engine.statement_activities import Blocker, StatementActivity
from rollout.engine.target import Connection, Target
from tests.engine.actions import wait_until_somebody_waits


@contextmanager
def waiting_for(
    target: Target, app: Connection, begin: str
) -> Iterator[tuple[StatementActivity, Blocker]]:
    """A statement that waits for a transaction of the application, and how that is shown."""
    app.execute(begin.encode())
    with target.connect() as engine, target.connect() as watcher:
        pid = engine.info.backend_pid

        def wait() -> None:
            try:
                engine.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
            except psycopg.Error:
                """Its time is over."""

        engine.execute("BEGIN")
        thread = threading.Thread(target=wait)
        thread.start()
        try:
            wait_until_somebody_waits(watcher)
            awaits, (shown, *_more) = statement_activities.in_its_way(watcher, pid)
            yield (
                StatementActivity(
                    session=pid, statement="", began_at="", awaits=awaits, blockers=(shown,)
                ),
                shown,
            )
        finally:
            engine.cancel_safe()
            thread.join()


READING = "BEGIN; SELECT FROM things"


def test_a_session_in_the_way_can_be_ended_and_is_seen_to_be_gone(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        assert shown.pid == app.info.backend_pid
        assert blockers.refusal_to_end(connection, shown, behind, "end") == ""
        assert blockers.signal(connection, shown, "end")
        assert blockers.has_gone(connection, shown)
    with pytest.raises(psycopg.OperationalError):
        app.execute("SELECT 1")


def test_only_a_session_that_runs_a_statement_can_have_it_cancelled(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        refusal = blockers.refusal_to_end(connection, shown, behind, "cancel")
        assert "runs no query to cancel (idle in transaction)" in refusal
        busy = threading.Thread(target=_sleep, args=(app,))
        busy.start()
        until_active(connection, app.info.backend_pid)
        assert blockers.refusal_to_end(connection, shown, behind, "cancel") == ""
        assert blockers.signal(connection, shown, "cancel")
        assert blockers.has_gone(connection, shown)
        busy.join()
    assert app.info.transaction_status == psycopg.pq.TransactionStatus.INERROR


def _sleep(app: Connection) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        app.execute("SELECT pg_sleep(60)")


def until_active(connection: Connection, pid: int) -> None:
    for _ in range(500):
        now = statement_activities.session(connection, pid)
        if now is not None and "pg_sleep(60)" in now.query and now.state == "active":
            return
        connection.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("it does not sleep")


def test_a_process_id_that_is_another_session_by_now_is_left_alone(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        former = replace(shown, began_at="2020-01-01T00:00:00.000000Z")
        assert "now belongs to a different session" in blockers.refusal_to_end(
            connection, former, behind, "end"
        )
        assert not blockers.signal(connection, former, "end")
        assert app.execute("SELECT 1").fetchone() == (1,)


def test_a_session_that_no_longer_blocks_is_left_alone(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        app.execute("COMMIT")
    app.execute("BEGIN")
    app.execute("SELECT 1")
    assert "is no longer blocking" in blockers.refusal_to_end(connection, shown, behind, "end")
    app.execute("COMMIT")


def test_between_two_attempts_an_open_transaction_still_counts_as_in_the_way(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        """The attempt is over now."""
    assert blockers.refusal_to_end(connection, shown, behind, "end") == ""
    with pytest.raises(psycopg.Error):
        app.execute("SELECT 1 / 0")
    # PostgreSQL lets its locks go at once, though nobody has ended the transaction.
    assert "is no longer blocking" in blockers.refusal_to_end(connection, shown, behind, "end")


def test_a_session_that_ended_by_itself_is_reported(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        app.close()
        assert blockers.has_gone(connection, shown)
        assert "already ended" in blockers.refusal_to_end(connection, shown, behind, "end")


def test_the_rollouts_own_sessions_are_never_touched(
    things: None, target: Target, connection: Connection
) -> None:
    with target.connect() as own, waiting_for(target, own, READING) as (behind, shown):
        refusal = blockers.refusal_to_end(connection, shown, behind, "end")
        assert "is a session of the rollout itself" in refusal
        assert "Pause or cancel" in refusal


@pytest.mark.parametrize(
    ("kind", "query", "refusal"),
    [
        ("walsender", "START_REPLICATION", "is a server background process (walsender)"),
        ("autovacuum worker", "autovacuum: VACUUM t (to prevent wraparound)", "wraparound"),
    ],
)
def test_replication_and_a_vacuum_against_wraparound_are_never_touched(
    things: None,
    target: Target,
    connection: Connection,
    app: Connection,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    query: str,
    refusal: str,
) -> None:
    with waiting_for(target, app, READING) as (behind, shown):
        other = replace(shown, kind=kind, query=query)
        monkeypatch.setattr(statement_activities, "session", lambda *_: other)
        assert refusal in blockers.refusal_to_end(connection, other, behind, "end")


def test_a_missing_right_of_the_role_is_named_before_it_is_needed(
    things: None, target: Target, connection: Connection, app: Connection
) -> None:
    role, other = (f"rollout_{uuid4().hex}" for _ in range(2))
    name = sql.Identifier(role)
    connection.execute(sql.SQL("CREATE ROLE {} IN ROLE pg_read_all_stats").format(name))
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(other)))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(sql.Identifier(other)))
    connection.execute(sql.SQL("GRANT SELECT ON things TO {}").format(sql.Identifier(other)))
    try:
        with waiting_for(target, app, READING) as (behind, shown):
            connection.execute(sql.SQL("SET ROLE {}").format(name))
            refusal = blockers.refusal_to_end(connection, shown, behind, "end")
            assert f"belongs to {app.info.user}, a superuser" in refusal
            connection.execute("RESET ROLE")
        app.execute("COMMIT")
        theirs = Target({**target.parameters, "user": other})
        with suppress(psycopg.OperationalError), theirs.connect() as app_of_theirs:
            app_of_theirs.execute("SET application_name = 'a report'")
            with waiting_for(target, app_of_theirs, READING) as (behind, shown):
                connection.execute(sql.SQL("SET ROLE {}").format(name))
                refusal = blockers.refusal_to_end(connection, shown, behind, "end")
                assert "Grant pg_signal_backend" in refusal
                connection.execute("RESET ROLE")
                connection.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(name))
                connection.execute(sql.SQL("SET ROLE {}").format(name))
                assert blockers.refusal_to_end(connection, shown, behind, "end") == ""
                assert blockers.signal(connection, shown, "end")
                connection.execute("RESET ROLE")
    finally:
        connection.execute("RESET ROLE")
        app.execute("COMMIT")
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(other)))
        for name_of_role in (role, other):
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name_of_role)))


def test_a_prepared_transaction_has_no_session_to_end(connection: Connection) -> None:
    prepared = Blocker(0, "", "", "prepared transaction", "", "", "prepared", None, "")
    behind = StatementActivity(session=1, statement="", began_at="")
    assert "ROLLBACK PREPARED" in blockers.refusal_to_end(connection, prepared, behind, "end")
