"""Statistics of filled columns: gathered where nobody holds the table, and else left to others."""

import pytest
from psycopg import sql

from rollout.engine import column_statistics
from rollout.engine.target import Connection
from rollout.plan.actions import Fill
from rollout.plan.table import Table
from rollout.plan.updates import Assignment

PARTED = Table(name="parted", key=("id",), columns={}, partitioned=True)
FILL = Fill(kind="fill", table=PARTED, assignments=(Assignment("new", sql.SQL("1")),))


def test_a_partition_that_somebody_holds_keeps_no_pass_waiting(
    connection: Connection, app: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    connection.execute("CREATE TABLE parted (id int, new int) PARTITION BY RANGE (id)")
    connection.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (9)")
    connection.execute("SET statement_timeout = '20s'")
    with app.transaction():
        app.execute("LOCK TABLE parted_1 IN ACCESS EXCLUSIVE MODE")
        column_statistics.gather(connection, FILL)
    assert "due to lock timeout" in caplog.text
    assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
