"""What the watchdog's leader keeps of the databases, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from rollout.engine.conflicting_writes import MAX_NOTES
from rollout.models import DatabaseReading
from rollout.telemetry.retention import RETENTION
from rollout.watchdog.database_statistics import DatabaseReader, downsample
from tests.support import rollouts
from tests.support.processes import wait_until
from tests.support.servers import Database

NOW = datetime(2026, 3, 4, 12, 0, 3, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_reading_holds_the_tables_the_server_and_what_was_executed(
    committed_db: Database,
) -> None:
    rollouts.load_listings(30)
    rollout = rollouts.the_rollout()
    rollouts.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    clock = Clock()
    reader = DatabaseReader(clock=clock)
    reader.read_all()
    (first,) = DatabaseReading.objects.all()
    assert set(first.tables) == {"properties", "property_images"}
    assert first.tables["properties"]["table_bytes"] > 0
    assert first.server["connections"] >= 1
    assert first.statements is None, "there was nothing to compare with"

    def is_counted() -> bool:
        """Whether what is executed now stands in the next reading."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.02), %s AS seen", ["x"])
        clock.now += 60
        reader.read_all()
        newest = DatabaseReading.objects.last()
        assert newest is not None
        if newest.statements is None:
            pytest.skip("the server does not load pg_stat_statements")
        query = "SELECT pg_sleep($1), $2 AS seen"
        counted = [(s["calls"], s["rows"]) for s in newest.statements if s["query"] == query]
        return counted == [(1, 1)]

    # The server holds a fixed number of statements: those of tests beside this one may oust it.
    wait_until(is_counted)

    # Notes of conflicting writes become one when they are many.
    rollouts.execute(
        "INSERT INTO rollout.conflicting_writes (plan, table_label, column_name, key)"
        f" SELECT '{rollout.plan}', 'properties', 'property_type_id', '{{1}}'"
        f" FROM generate_series(1, {MAX_NOTES}) AS n"
    )
    notes = "SELECT count(*)::int FROM rollout.conflicting_writes"
    reader.read(rollout)
    assert rollouts.ask(notes) == MAX_NOTES
    rollouts.execute(
        "INSERT INTO rollout.conflicting_writes (plan, table_label, column_name, key)"
        f" VALUES ('{rollout.plan}', 'properties', 'property_type_id', '{{2}}')"
    )
    reader.read(rollout)
    assert rollouts.ask(notes) == 1
    assert rollouts.ask("SELECT writes::int FROM rollout.conflicting_writes") == MAX_NOTES + 1

    # A table that somebody holds is left out, and nobody waits for it.
    with rollouts.locked("LOCK TABLE properties"):
        assert set(reader.read(rollout).tables) == {"property_images"}


@pytest.mark.django_db
def test_old_readings_are_kept_seldom_and_their_statements_together() -> None:
    rollout = rollouts.the_rollout()
    executed = [{"query": "a", "calls": 1, "ms": 2.0, "rows": 3}]
    for ago in range(600, 7200, 10):
        DatabaseReading.objects.create(
            rollout=rollout,
            at=NOW - timedelta(seconds=ago),
            seconds=10,
            server={"wal_bytes": 10_000 - ago},
            statements=executed if ago % 60 == 0 else None,
        )
    long_ago = NOW - RETENTION - timedelta(seconds=1)
    DatabaseReading.objects.create(rollout=rollout, at=long_ago, seconds=10)
    downsample(now=NOW)
    readings = list(DatabaseReading.objects.all())
    assert len(readings) < 140
    assert {s.seconds for s in readings} == {10, 60}
    calls = sum(statement["calls"] for s in readings for statement in s.statements or [])
    assert calls == len(range(600, 7200, 60))
    positions = [s.server["wal_bytes"] for s in readings]
    assert positions == sorted(positions)
    assert downsample(now=NOW) == 0
