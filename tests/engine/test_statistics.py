"""What a server counts about itself, and what lies between two readings."""

from dataclasses import replace

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from rollout.engine.statistics import (
    SERVER_COUNTERS,
    TABLE_COUNTERS,
    Numbers,
    Statements,
    between,
    read_server,
    read_statements,
    read_table,
    statements_between,
    texts_of,
)
from rollout.engine.target import Connection
from tests.engine.samples import BIGINT
from tests.support.processes import wait_until


def things(connection: Connection, rows: int) -> None:
    BIGINT.create(connection)
    connection.execute("ALTER TABLE things SET (autovacuum_enabled = off)")
    connection.execute("INSERT INTO things (id) SELECT generate_series(1, %s)", [rows])


def table_now(connection: Connection) -> Numbers:
    connection.execute("SELECT pg_stat_force_next_flush()")
    return read_table(connection, BIGINT.table)


def of(numbers: Numbers, *names: str) -> tuple[float, ...]:
    """Numbers that are known."""
    return tuple(value for name in names if (value := numbers[name]) is not None)


def test_a_server_and_a_table_are_read_without_looking_at_rows(connection: Connection) -> None:
    things(connection, 500)
    before, table = read_server(connection), table_now(connection)
    used, most = of(before, "connections", "max_connections")
    assert 1 <= used < most
    assert of(before, "lock_waits", "replicas") == (0, 0)
    assert before["lag"] is None
    assert of(table, "live", "inserts", "vacuuming") == (500, 500, 0)
    assert of(table, "table_bytes") > (8192,)

    connection.execute("UPDATE things SET state = 'x' WHERE id <= 100")
    assert of(between(before, read_server(connection), SERVER_COUNTERS), "wal_bytes") > (0,)
    written = between(table, table_now(connection), TABLE_COUNTERS)
    assert of(written, "updates", "inserts", "vacuums") == (100, 0, 0)
    connection.execute("VACUUM things")
    swept = table_now(connection)
    assert of(between(table, swept, TABLE_COUNTERS), "vacuums") == (1,)
    assert swept["vacuumed"] is not None

    # Statistics that are reset tell nothing of the time between; the WAL is none of them.
    connection.execute("SELECT pg_stat_reset()")
    deltas = between(before, read_server(connection), SERVER_COUNTERS)
    assert deltas["commits"] is None
    assert deltas["wal_bytes"] is not None


def test_a_table_is_read_with_the_last_number_of_its_key_s_sequence(connection: Connection) -> None:
    things(connection, 5)
    assert table_now(connection)["drawn"] is None
    connection.execute(
        "CREATE SEQUENCE numbers; SELECT setval('numbers', 41);"
        'CREATE TABLE "Things 2" (id serial, day date, PRIMARY KEY (id, day))'
        " PARTITION BY RANGE (day);"
        "CREATE TABLE things_3 (id integer PRIMARY KEY DEFAULT nextval('numbers'), other serial)"
    )
    for name, drawn in (("Things 2", None), ("things_3", 41)):
        table = replace(BIGINT.table, name=name)
        assert read_table(connection, table)["drawn"] == drawn
    connection.execute("SELECT nextval('\"Things 2_id_seq\"'), nextval('\"Things 2_id_seq\"')")
    assert read_table(connection, replace(BIGINT.table, name="Things 2"))["drawn"] == 2


def test_a_table_that_is_locked_is_not_waited_for(connection: Connection, app: Connection) -> None:
    things(connection, 5)
    with app.transaction():
        app.execute("LOCK TABLE things")
        connection.execute("SET lock_timeout = 50")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            read_table(connection, BIGINT.table)


def test_statements_are_identified_by_their_texts(connection: Connection) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    if read_statements(connection) is None:
        pytest.skip("the server does not load pg_stat_statements")
    # The server holds a fixed number of statements: those of tests beside this one may oust it.
    wait_until(lambda: _is_reported(connection))


def _is_reported(connection: Connection) -> bool:
    before = read_statements(connection) or {}
    for number in range(3):
        connection.execute(f"SELECT {number} AS of_this_test, pg_sleep(0)".encode())
    executed = statements_between(before, read_statements(connection) or {})
    texts = texts_of(connection, list(executed))
    return [
        (executed[key][0], executed[key][2])
        for key, text in texts.items()
        if text == "SELECT $1 AS of_this_test, pg_sleep($2)"
    ] == [(3, 3)]


def test_a_server_without_the_extension_has_no_statements_and_logs_no_error(
    connection: Connection,
) -> None:
    connection.execute("DROP EXTENSION IF EXISTS pg_stat_statements")
    with connection.transaction():
        assert read_statements(connection) is None
        assert connection.info.transaction_status == TransactionStatus.INTRANS


@pytest.mark.parametrize(
    ("before", "after", "commits"),
    [
        ({"started": 1, "reset": 1, "commits": 5}, {"started": 1, "reset": 1, "commits": 9}, 4),
        # A restart, a reset, and one that shows in the counter alone.
        ({"started": 1, "reset": 1, "commits": 5}, {"started": 2, "reset": 1, "commits": 9}, None),
        ({"started": 1, "reset": 1, "commits": 5}, {"started": 1, "reset": 2, "commits": 9}, None),
        ({"started": 1, "reset": 1, "commits": 5}, {"started": 1, "reset": 1, "commits": 2}, None),
        ({"started": 1, "reset": 1}, {"started": 1, "reset": 1, "commits": 2}, None),
    ],
)
def test_counters_that_began_again_are_not_compared(
    before: dict[str, float | None], after: dict[str, float | None], commits: float | None
) -> None:
    assert between(before, after, ["commits"]) == {"commits": commits}


def test_a_statement_whose_counters_were_reset_counts_what_it_has() -> None:
    before: Statements = {"a": (10, 100.0, 10), "gone": (3, 3.0, 3), "idle": (4, 4.0, 4)}
    after: Statements = {"a": (2, 30.0, 2), "new": (1, 50.0, 1), "idle": (4, 4.0, 4)}
    assert statements_between(before, after) == {"new": (1, 50.0, 1), "a": (2, 30.0, 2)}
