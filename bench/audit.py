"""The command: `python -m bench.audit`, or `make bench-audit ROWS=10000000`.

The engine's full audit of two lookups, against counting the rows and against the two usual ways:
a join that classifies row by row, and checksums of both shapes of every row.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

from psycopg import sql

from bench.rollout import KEYS, listings
from bench.server import Connection, Database, server
from bench.template import KEY_DEFAULTS, KEY_VALUES, ROWS, SLOTS, TABLE, settings, spellings
from properties.vocabulary import STATUSES, TYPES, weighted_spellings
from rollout.engine import ddl
from rollout.engine.audit import AuditResult, run_audit
from rollout.engine.control import NullControl
from rollout.engine.target import Target, install
from rollout.plan import AddColumns, CreateLookupTable, Lookup, MapLegacyValues, Phase, Plan
from rollout.plan.actions import Statement
from rollout.plan.names import code, in_target, normal

ROUNDS = 3
MOST = 3.0
"""The audit may take so many times what counting the rows takes."""
KEY = "uuid"
"""As in the property schema: counting by the index of a random key visits the heap's map at random.
"""
LISTINGS = listings(KEYS[KEY])
LOOKUPS = (
    Lookup(table=LISTINGS, legacy="type", column="type_id", lookup_table="listing_types"),
    Lookup(table=LISTINGS, legacy="status", column="status_id", lookup_table="listing_statuses"),
)
_NOTHING = Phase(steps=())
PLAN = Plan(
    name="bench-audit",
    title="Benchmark of the audit",
    description="Two lookups, filled in.",
    tables=(LISTINGS,),
    translations=LOOKUPS,
    phases=(
        _NOTHING,
        Phase(
            steps=(
                *(
                    CreateLookupTable(id=x.lookup_table, description="Its lookup table", lookup=x)
                    for x in LOOKUPS
                ),
                AddColumns(id="columns", description="Columns", table=LISTINGS, of=LOOKUPS),
            )
        ),
        Phase(steps=(MapLegacyValues(id="map", description="Map the values", table=LISTINGS),)),
        _NOTHING,
        _NOTHING,
    ),
)


def main() -> None:
    arguments = _arguments()
    with server() as database, database.connect() as connection:
        started = time.monotonic()
        _say(f"making {arguments.rows:,} rows, every one filled in")
        _make(connection, arguments.rows)
        _say(f"made in {time.monotonic() - started:.0f} s")
        figures = _measure(database, connection, arguments.rows)
    most = figures["audit_s"] / figures["count_star_s"]
    print(
        f"{arguments.rows:,} rows, median of {ROUNDS} runs each, seconds: count(*) "
        f"{figures['count_star_s']:.2f}, full audit of both lookups {figures['audit_s']:.2f} "
        f"({most:.1f} × count(*), {MOST:.0f} × wanted), join per row "
        f"{figures['join_per_row_s']:.2f}, md5 checksums {figures['md5_checksum_s']:.2f}."
    )
    print(json.dumps(figures))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows (%(default)s)")
    return parser.parse_args()


def _make(connection: Connection, rows: int) -> None:
    """A table at the end of its backfill: every row has its lookup rows."""
    connection.execute("SELECT setseed(0.5)")
    connection.execute(
        sql.SQL(TABLE).format(key_type=code(KEYS[KEY]), key_default=KEY_DEFAULTS[KEY])
    )
    spellings(connection, "types", weighted_spellings(TYPES))
    spellings(connection, "statuses", weighted_spellings(STATUSES))
    _map_spellings(connection)
    with settings(connection, fsync="off", full_page_writes="off", max_wal_size="8GB"):
        connection.execute(
            sql.SQL(ROWS).format(
                into=sql.Identifier("listings"),
                key=KEY_VALUES[KEY],
                rows=sql.Literal(rows),
                slots=sql.Literal(SLOTS),
                new_values=sql.SQL("").join(
                    sql.SQL(", {}.lookup_id").format(sql.Identifier(x.mapping_alias))
                    for x in LOOKUPS
                ),
                new_sources=sql.SQL("").join(
                    sql.SQL(" JOIN {} AS {} ON {} = coalesce({}.text, '')").format(
                        in_target(x.mapping_name(PLAN.name)),
                        sql.Identifier(x.mapping_alias),
                        sql.Identifier(x.mapping_alias, "legacy"),
                        sql.Identifier({"type": "types", "status": "statuses"}[x.legacy]),
                    )
                    for x in LOOKUPS
                ),
            )
        )
        connection.execute("VACUUM (ANALYZE) listings")
        connection.execute("CHECKPOINT")


def _map_spellings(connection: Connection) -> None:
    """Phases 1 and 2 up to the mapping, over one row for each spelling."""
    connection.execute(
        "INSERT INTO listings SELECT gen_random_uuid(), '', '', '', '', '', 0, 0, 0, 0, 0, 0,"
        " t.text, s.text, now(), now() FROM types AS t JOIN statuses AS s USING (slot)"
    )
    install(connection)
    for phase in PLAN.phases:
        for step in phase.steps:
            for action in PLAN.forward(step).actions:
                assert isinstance(action, Statement)
                ddl.apply(connection, action, NullControl())
    connection.execute("TRUNCATE listings")


def _measure(database: Database, connection: Connection, rows: int) -> dict[str, float]:
    """Rows, and the median seconds of each way, all of which must find every row right."""
    ways: dict[str, Callable[[], int]] = {
        "count_star_s": lambda: _number(connection, sql.SQL("SELECT count(*) FROM listings")),
        "audit_s": lambda: _audited(database).matched,
        "join_per_row_s": lambda: _number(connection, _joined_per_row()),
        "md5_checksum_s": lambda: rows if _number(connection, _checksums()) else 0,
    }
    # Read once, so that nobody is the first to read it from disk.
    _number(connection, sql.SQL("SELECT count(*) FROM listings"))
    took: dict[str, list[float]] = {name: [] for name in ways}
    # In turn, so that a slow moment of the machine meets all of them.
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            right = way()
            took[name].append(time.perf_counter() - started)
            if right != rows:
                raise AssertionError(f"{name}: {right:,} of {rows:,} rows found right")
            _say(f"{name}: {took[name][-1]:.2f}")
    return {
        "rows": rows,
        **{name: round(statistics.median(seconds), 6) for name, seconds in took.items()},
    }


def _audited(database: Database) -> AuditResult:
    """What a report of a full audit is made by, on a connection of its own like there."""
    with Target({"conninfo": database.url}).connect() as connection:
        return run_audit(connection, PLAN)


def _number(connection: Connection, query: sql.SQL | sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _joined_per_row() -> sql.Composed:
    """Every row joined with mapping and lookup row of both texts, and classified by itself."""
    return sql.SQL(
        "SELECT count(*) FILTER (WHERE type IN ('same', 'normal', 'mapped')"
        " AND status IN ('same', 'normal', 'mapped')) FROM (SELECT {} FROM listings AS t{}) AS row"
    ).format(
        sql.SQL(", ").join(
            sql.SQL(
                "CASE WHEN {new} IS DISTINCT FROM {mapping}.lookup_id THEN 'wrong'"
                " WHEN {lookup}.name = {old} THEN 'same'"
                " WHEN {name} = {text} THEN 'normal'"
                " WHEN {lookup}.id IS NULL THEN 'orphan' ELSE 'mapped' END AS {as_}"
            ).format(
                new=sql.Identifier("t", x.column),
                old=sql.Identifier("t", x.legacy),
                mapping=sql.Identifier(x.mapping_alias),
                lookup=sql.Identifier(x.lookup_table),
                name=normal(sql.Identifier(x.lookup_table, "name")),
                text=normal(sql.Identifier("t", x.legacy)),
                as_=sql.Identifier(x.legacy),
            )
            for x in LOOKUPS
        ),
        _joins(),
    )


def _checksums() -> sql.Composed:
    """Checksums over the rows in both shapes: what the text says, and what the new columns hold."""

    def checksum(*columns: sql.Composable) -> sql.Composed:
        return sql.SQL(
            "bit_xor(('x' || left(md5(concat_ws('|', t.id, {})), 16))::bit(64)::bigint)"
        ).format(sql.SQL(", ").join(columns))

    return sql.SQL("SELECT ({} = {})::integer FROM listings AS t{}").format(
        checksum(*(sql.Identifier(x.mapping_alias, "lookup_id") for x in LOOKUPS)),
        checksum(*(sql.Identifier("t", x.column) for x in LOOKUPS)),
        _joins(),
    )


def _joins() -> sql.Composed:
    return sql.SQL("").join(
        sql.SQL(
            " LEFT JOIN {mapping} AS {alias} ON {alias}.legacy = {text}"
            " LEFT JOIN {lookup} ON {lookup}.id = {new}"
        ).format(
            mapping=in_target(x.mapping_name(PLAN.name)),
            alias=sql.Identifier(x.mapping_alias),
            text=x.legacy_text("t"),
            lookup=sql.Identifier(x.lookup_table),
            new=sql.Identifier("t", x.column),
        )
        for x in LOOKUPS
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped; its server and its files are gone.")
