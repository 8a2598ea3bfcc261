"""The comparison of old and new columns: the full audit, and data-diff over a view."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.loops.base import Bounds, Copy
from bench.loops.single_update import single_update
from bench.peers.environments import DATA_DIFF
from bench.peers.writers import make_mappings, peer_environ, run_python
from bench.run import say
from bench.server import Connection, Database, copy_of
from bench.traffic import scripts_of_listings, traffic
from rollout.engine.audit import run_audit
from rollout.engine.target import Target

WRONG_ROWS = 7
# What the old columns say, row by row: data-diff's second table.
EXPECTED = """
CREATE VIEW expected_listings AS
SELECT t.id, y.lookup_id AS type_id, s.lookup_id AS status_id FROM listings AS t
  LEFT JOIN peer_type AS y ON y.legacy = coalesce(t.type, '')
  LEFT JOIN peer_status AS s ON s.legacy = coalesce(t.status, '')
"""
# As a write would that no trigger sees.
SPOIL = """
SET session_replication_role = replica;
UPDATE listings SET type_id = (SELECT max(id) FROM listing_types WHERE id <> listings.type_id)
 WHERE id IN (SELECT id FROM listings ORDER BY id LIMIT {number});
RESET session_replication_role
"""


@dataclass(frozen=True)
class Compared:
    """One comparison: seconds, and the rows that it says differ."""

    seconds: float
    differing: int


Compare = Callable[[Database], Compared]


def comparisons(
    template: Database, key: str, rows: int, seconds: float, *, data_diff: bool
) -> dict[str, Any]:
    """The figures of each way; those of data-diff where it runs here."""
    figures: dict[str, Any] = {}
    with copy_of(template) as database, database.connect() as connection:
        copy = Copy(database, key, rows)
        _fill(connection, copy)
        ways = _ways(copy, data_diff=data_diff)
        for name, compare in ways.items():
            figures[name] = _measured(database, key, rows, compare, seconds)
            say(f"{name}: {figures[name]}")
        connection.execute(SPOIL.format(number=min(WRONG_ROWS, rows)).encode())
        for name, compare in ways.items():
            figures[name]["wrong_rows_seen"] = compare(database).differing
    return figures


def _fill(connection: Connection, copy: Copy) -> None:
    with single_update(copy) as run:
        run(Bounds(copy.rows, math.inf))
    make_mappings(connection, copy)
    connection.execute(EXPECTED)
    connection.execute("VACUUM (ANALYZE) listings")


def _ways(copy: Copy, *, data_diff: bool) -> dict[str, Compare]:
    def audit(database: Database) -> Compared:
        started = time.perf_counter()
        with Target({"conninfo": database.url}).connect() as connection:
            result = run_audit(connection, copy.plan)
        return Compared(time.perf_counter() - started, result.mismatched)

    def peer(algorithm: str) -> Compare:
        def compare(database: Database) -> Compared:
            printed = run_python(
                DATA_DIFF.python(),
                ("-m", "bench.peers.site.comparison", algorithm),
                peer_environ(database),
            )
            return Compared(**json.loads(printed.splitlines()[-1]))

        return compare

    ways: dict[str, Compare] = {"full audit": audit}
    if data_diff:
        ways |= {
            "data-diff, join": peer("joindiff"),
            "data-diff, checksums": peer("hashdiff"),
        }
    return ways


def _measured(
    database: Database, key: str, rows: int, compare: Compare, seconds: float
) -> dict[str, Any]:
    """Alone, and again and again beside an application."""
    alone = compare(database)
    if alone.differing:
        raise AssertionError(f"{alone.differing:,} rows differ where every row is right")
    with traffic(database, scripts_of_listings(key), rows, warm_up=min(3.0, seconds)) as seen:
        started = time.time()
        falsely = 0
        while time.time() - started < seconds:
            falsely = max(falsely, compare(database).differing)
        ended = time.time()
        seen.stop(drain=0)
    return {
        "seconds": alone.seconds,
        "rows_per_s": rows / alone.seconds,
        "app_p99_ms": seen.between(started, ended).p99,
        "differing_beside_writes": falsely,
    }
