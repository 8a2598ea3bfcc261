"""All-time totals per operation, as monotonic counters for Prometheus."""

import json
from collections.abc import Iterable

from rollout import journal
from rollout.models import Measurement, OperationTotal

_ADD = f"""
INSERT INTO {OperationTotal._meta.db_table} AS t
  (operation, plan, read_mode, write_mode, calls, errors, queries, seconds, database_seconds,
   durations)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (operation, plan, read_mode, write_mode) DO UPDATE SET
  calls = t.calls + excluded.calls,
  errors = t.errors + excluded.errors,
  queries = t.queries + excluded.queries,
  seconds = t.seconds + excluded.seconds,
  database_seconds = t.database_seconds + excluded.database_seconds,
  durations = (
    SELECT jsonb_object_agg(bucket, calls) FROM (
      SELECT key AS bucket, sum(value::bigint) AS calls
        FROM (SELECT * FROM jsonb_each_text(t.durations)
              UNION ALL SELECT * FROM jsonb_each_text(excluded.durations)) AS both_of_them
       GROUP BY key) AS added)
"""  # noqa: S608  the table's name is the model's


def add(rows: Iterable[tuple[Measurement, float]]) -> None:
    """Add measurements, each with the seconds that its calls took together.

    In the transaction that writes them, in one order in every process, so that none waits for
    another in a circle.
    """
    parameters = sorted(
        (
            *(row.operation, row.plan, row.read_mode, row.write_mode),
            *(row.calls, row.errors, row.queries, seconds, row.database_seconds),
            json.dumps(row.durations),
        )
        for row, seconds in rows
    )
    with journal.connection().cursor() as cursor:
        cursor.executemany(_ADD, parameters)
