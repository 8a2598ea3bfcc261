"""What only a server with settings of its own can be in: prepared, replicated, near wraparound."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rollout.engine import preflight
from rollout.engine.preflight import Item
from rollout.engine.preflight import server as server_questions
from rollout.engine.target import Connection, Target, install
from tests.engine.own_server import replica_of, server
from tests.engine.samples import BIGINT

SETTINGS = {"max_prepared_transactions": "3", "autovacuum_naptime": "1s", "wal_level": "replica"}


@dataclass(frozen=True)
class Own:
    target: Target
    connection: Connection

    def item(self, name: str, phase: int = 1) -> Item:
        report = preflight.run(self.target, BIGINT.plan, phase)
        (finding,) = [i for i in report.items if i.name == name]
        return finding


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    with server(SETTINGS) as (target, _), target.connect() as connection:
        install(connection)
        BIGINT.create(connection)
        BIGINT.insert(connection, 1, kind="House")
        yield Own(target, connection)


def test_a_prepared_transaction_on_a_table_keeps_the_phase_from_starting(own: Own) -> None:
    assert own.item("prepared transactions").level == "pass"
    with own.target.connect() as app:
        app.execute("BEGIN")
        BIGINT.insert(app, 2)
        app.execute("PREPARE TRANSACTION 'left behind'")
    finding = own.item("prepared transactions")
    harmless = own.item("prepared transactions", phase=0)
    own.connection.execute("ROLLBACK PREPARED 'left behind'")
    assert finding.level == "blocks"
    assert re.match(r"“left behind” of postgres, prepared \d+ s ago", finding.evidence)
    assert finding.evidence.endswith("holds a lock on a table of the plan")
    assert harmless.level == "warns"


def test_a_prepared_transaction_elsewhere_is_reported_and_keeps_nothing(own: Own) -> None:
    own.connection.execute("CREATE TABLE elsewhere (id integer)")
    with own.target.connect() as app:
        app.execute("BEGIN")
        app.execute("INSERT INTO elsewhere VALUES (1)")
        app.execute("PREPARE TRANSACTION 'elsewhere'")
    finding = own.item("prepared transactions")
    own.connection.execute("ROLLBACK PREPARED 'elsewhere'")
    assert finding.level == "warns"


def test_a_replica_that_is_behind_is_named(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    assert own.item("replication lag").evidence == "No replicas."
    with replica_of(own.target, SETTINGS) as replica, replica.connect() as standby:
        _until(
            own.connection,
            "SELECT count(*) > 0 FROM pg_stat_replication WHERE replay_lsn IS NOT NULL",
        )
        assert own.item("replication lag").evidence == "1 replica in sync."
        # Only a commit would wait for a delay of the replica; a pause holds every record.
        standby.execute("SELECT pg_wal_replay_pause()")
        _until(standby, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
        own.connection.execute("CREATE TABLE large AS SELECT generate_series(1, 100000) AS n")
        monkeypatch.setattr(server_questions, "MAX_LAG_BYTES", 1_000_000)
        finding = own.item("replication lag")
    own.connection.execute("DROP TABLE large")
    assert finding.level == "warns"
    assert "(streaming) lags by" in finding.evidence
    assert "MB" in finding.evidence


def test_a_vacuum_against_wraparound_keeps_the_phase_from_starting(own: Own) -> None:
    # Not even an ordinary vacuum is to come first, and this one is to take its time.
    own.connection.execute(
        "ALTER TABLE things SET (autovacuum_enabled = off, autovacuum_freeze_max_age = 100000,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
    )
    own.connection.execute(
        "INSERT INTO things (id, kind) SELECT n, repeat('x', 200) FROM generate_series(10, 20000) n"
    )
    own.connection.execute(
        "CREATE PROCEDURE use_ids(how_many integer) LANGUAGE plpgsql AS $$ BEGIN"
        " FOR i IN 1..how_many LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
    )
    own.connection.execute("CALL use_ids(110000)")
    _until(
        own.connection,
        "SELECT count(*) > 0 FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
        " WHERE a.query LIKE 'autovacuum:%to prevent wraparound%'"
        " AND l.relation = 'things'::regclass",
    )
    finding = own.item("vacuum against wraparound")
    harmless = own.item("vacuum against wraparound", phase=0)
    assert finding.level == "blocks"
    assert "running on things for" in finding.evidence
    assert harmless.level != "blocks"


def _until(connection: Connection, question: str) -> None:
    for _ in range(600):
        if connection.execute(question.encode()).fetchone() == (True,):
            return
        connection.execute("SELECT pg_sleep(0.1)")
    raise AssertionError(question)
