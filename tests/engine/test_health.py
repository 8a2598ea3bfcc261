"""Signs of the database's health, each read from a real server."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from rollout.engine import health
from rollout.engine.health import Signal, read_signals
from rollout.engine.target import Connection, Target
from tests.engine.actions import wait_until_somebody_waits
from tests.engine.samples import BIGINT, PARTITIONED
from tests.support.processes import PATIENCE, wait_until


@pytest.fixture(autouse=True)
def table_of_a_house(connection: Connection) -> None:
    BIGINT.create(connection)
    BIGINT.insert(connection, 1, kind="House")


def signal(connection: Connection, name: str) -> Signal:
    (match,) = [s for s in read_signals(connection, BIGINT.table) if s.name == name]
    return match


def test_every_sign_of_a_server_at_rest_is_ok_and_says_so_in_a_sentence(
    connection: Connection,
) -> None:
    signals = read_signals(connection, BIGINT.table)
    assert {s.status for s in signals} == {"ok"}, signals
    assert all(s.reason.endswith(".") for s in signals)
    assert len({s.name for s in signals}) == len(signals) == 7


def test_a_server_without_a_replica_is_well(connection: Connection) -> None:
    lag = signal(connection, "replication lag")
    assert (lag.status, lag.reason, lag.value) == ("ok", "No replicas.", 0.0)


class TestAnOldTransaction:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "MAX_TRANSACTION_SECONDS", 0)

    def test_an_old_snapshot_is_named_with_its_process_and_its_query(
        self, connection: Connection, app: Connection
    ) -> None:
        app.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        app.execute("SELECT 'the reason   why' FROM things")
        old = signal(connection, "old transaction")
        app.execute("COMMIT")
        assert old.status == "throttle"
        assert f"PID {app.info.backend_pid} (the application, idle in transaction)" in (old.reason)
        assert "SELECT 'the reason why' FROM things" in old.reason
        assert old.value is not None
        assert old.value > 0

    def test_an_old_writer_is_named_too(self, connection: Connection, app: Connection) -> None:
        app.execute("BEGIN")
        BIGINT.insert(app, 2)
        old = signal(connection, "old transaction")
        app.execute("COMMIT")
        assert old.status == "throttle"

    def test_a_transaction_that_holds_no_row_version_is_ignored(
        self, connection: Connection, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("SELECT 1")
        assert signal(connection, "old transaction").status == "ok"
        app.execute("COMMIT")

    def test_a_young_transaction_is_healthy(
        self, connection: Connection, app: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "MAX_TRANSACTION_SECONDS", 30)
        app.execute("BEGIN")
        BIGINT.insert(app, 2)
        young = signal(connection, "old transaction")
        app.execute("COMMIT")
        assert young.status == "ok"
        assert young.value is not None
        assert 0 <= young.value < 30


class TestLockWaits:
    def test_waits_for_the_table_and_for_its_rows_are_counted(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        app.execute("BEGIN")
        app.execute("UPDATE things SET state = 'x' WHERE id = 1")
        with waiting(target, "UPDATE things SET state = 'y' WHERE id = 1") as looked:
            wait_until_somebody_waits(connection)
            looked.append(signal(connection, "lock waits"))
            app.execute("COMMIT")
        (waits,) = looked
        assert (waits.status, waits.value) == ("throttle", 1.0)
        assert waits.reason == "1 session waiting for locks on things."
        assert signal(connection, "lock waits").status == "ok"

    def test_waits_for_another_table_do_not_count(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        app.execute("CREATE TABLE elsewhere ()")
        app.execute("BEGIN")
        app.execute("LOCK TABLE elsewhere")
        with waiting(target, "SELECT FROM elsewhere") as looked:
            wait_until_somebody_waits(connection)
            looked.append(signal(connection, "lock waits"))
            app.execute("COMMIT")
        assert looked[0].status == "ok"

    def test_waits_for_a_row_of_a_partition_count_for_its_table(
        self, target: Target, connection: Connection, app: Connection
    ) -> None:
        PARTITIONED.create(connection)
        PARTITIONED.insert(connection, 1)
        app.execute("BEGIN; UPDATE parted.early SET state = 'x'")
        with waiting(target, "UPDATE parted.early SET state = 'y'") as looked:
            wait_until_somebody_waits(connection)
            looked += [
                s for s in read_signals(connection, PARTITIONED.table) if s.name == "lock waits"
            ]
            app.execute("COMMIT")
        assert looked[0].status == "throttle"


@contextmanager
def waiting(target: Target, statement: str) -> Iterator[list[Signal]]:
    """Somebody who has to wait for as long as the block continues."""

    def wait() -> None:
        with target.connect() as other:
            other.execute(statement.encode())

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield []
    finally:
        thread.join(PATIENCE)


class TestNumbers:
    def test_connections_near_their_maximum_throttle(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connections = signal(connection, "connections")
        assert connections.status == "ok"
        assert connections.value is not None
        assert connections.value >= 1
        monkeypatch.setattr(health, "MAX_CONNECTIONS_SHARE", 0.0)
        connections = signal(connection, "connections")
        assert connections.status == "throttle"
        assert f"{connections.value:.0f} of " in connections.reason

    @pytest.mark.parametrize(
        ("constant", "status"), [("MAX_XID_AGE", "throttle"), ("HARD_XID_AGE", "stop")]
    )
    def test_old_transaction_ids_throttle_and_then_stop(
        self, constant: str, status: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert signal(connection, "transaction ids").status == "ok"
        monkeypatch.setattr(health, constant, -1)
        ids = signal(connection, "transaction ids")
        assert ids.status == status
        assert ids.value is not None
        assert ids.value > 0

    def test_a_replication_slot_that_holds_wal_throttles(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "MAX_RETAINED_BYTES", -1)
        wal = signal(connection, "WAL")
        assert wal.status == "throttle"
        assert "GiB of WAL" in wal.reason


class TestARoleWithoutRights:
    @pytest.fixture
    def plain(self, target: Target, connection: Connection) -> Iterator[Connection]:
        """A connection of a role that may see nothing of others."""
        name = sql.Identifier("plain_" + str(connection.info.dbname)[-12:])
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        parameters = {**target.parameters, "user": name.as_string().strip('"')}
        try:
            with Target(parameters).connect() as plain:
                yield plain
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(sql.SQL("DROP ROLE {}").format(name))

    def test_a_hidden_transaction_is_not_taken_for_none(
        self, plain: Connection, app: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(health, "MAX_TRANSACTION_SECONDS", 0)
        app.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        app.execute("SELECT FROM things")
        hidden = signal(plain, "old transaction")
        app.execute("COMMIT")
        assert hidden.status == "unknown"
        assert "Grant pg_read_all_stats" in hidden.reason

    def test_counts_connections_whosoever_they_are(
        self, plain: Connection, connection: Connection, app: Connection
    ) -> None:
        mine, theirs = signal(plain, "connections"), signal(connection, "connections")
        assert mine.status == "ok"
        assert mine.value is not None
        assert mine.value >= 3
        assert theirs.value is not None

    def test_a_role_with_the_right_knows_all(
        self, plain: Connection, connection: Connection, app: Connection
    ) -> None:
        name = plain.info.user
        connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(name)))
        assert signal(plain, "old transaction").status == "ok"

    def test_a_role_is_told_all_that_the_server_does_not_refuse(
        self, plain: Connection, connection: Connection
    ) -> None:
        name = sql.Identifier(plain.info.user)
        connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(name))
        connection.execute("REVOKE SELECT ON pg_stat_archiver FROM PUBLIC")

        def unknown() -> list[str]:
            signals.append(read_signals(plain, BIGINT.table))
            return [s.name for s in signals[-1] if s.status == "unknown"]

        # Other tests of the same server may delay or throttle a signal meanwhile.
        signals: list[list[Signal]] = []
        try:
            wait_until(lambda: unknown() == ["WAL"], seen=lambda: str(signals[-1]))
        finally:
            connection.execute("GRANT SELECT ON pg_stat_archiver TO PUBLIC")
        refused = signals[-1]
        (wal,) = [s for s in refused if s.status == "unknown"]
        assert wal.reason == "Could not be read: permission denied for view pg_stat_archiver"
        assert wal.value is None
        wait_until(lambda: not unknown(), seen=lambda: str(signals[-1]))
        assert [s.name for s in refused] == [s.name for s in signals[-1]]
