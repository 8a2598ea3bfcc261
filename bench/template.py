"""The database that every loop gets a fresh copy of: untidy listings, ready to be filled in."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from psycopg import sql

from bench.control import BENCHMARK
from bench.rollout import KEYS, PLANS
from bench.server import Connection, Database, create, django_uses
from properties.vocabulary import STATUSES, TYPES, weighted_spellings
from rollout.engine import ddl
from rollout.engine.control import NullControl
from rollout.plan import Backfill, Plan
from rollout.plan.actions import Statement
from rollout.plan.names import code

KEY_DEFAULTS = {
    "uuid": sql.SQL("gen_random_uuid()"),
    "bigint": sql.SQL("nextval('listing_ids')"),
}
KEY_VALUES = {"uuid": sql.SQL("md5(n::text)::uuid"), "bigint": sql.SQL("n")}
"""The key of row ``n``: what the traffic's statements compute as well."""

SLOTS = 1000

TABLE = """
CREATE SEQUENCE listing_ids;
CREATE TABLE listings (
  id {key_type} PRIMARY KEY DEFAULT {key_default},
  title text NOT NULL, description text NOT NULL, address text NOT NULL,
  city text NOT NULL, postal_code text NOT NULL,
  price numeric(12,2), bedrooms smallint, bathrooms numeric(4,1), area numeric(10,1),
  latitude double precision, longitude double precision,
  type text, status text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
)
"""
INDEXES = """
CREATE INDEX {prefix}_city_idx ON {table} (city);
CREATE INDEX {prefix}_created_idx ON {table} (created_at);
CREATE INDEX {prefix}_type_status_idx ON {table} (type, status)
"""
ROWS = """
INSERT INTO {into}
SELECT {key},
       'Listing ' || n || ', bright and renovated',
       'High ceilings and oak floors; washer and dryer in the unit, central air.',
       (n % 999) || ' Grand Concourse, Apt ' || n % 40,
       'City ' || n % 5000 * 7919 % 5000, lpad((n % 99999)::text, 5, '0'),
       100000 + n % 900000, n % 6, 1 + n % 4, 400 + n % 3000,
       40 + n % 1000 / 1000.0, -74 + n % 1000 / 1000.0,
       types.text, statuses.text, moment, moment{new_values}
  FROM (SELECT n, timestamptz '2023-01-01 00:00Z' + n * interval '40 seconds' AS moment,
               floor(random() * {slots})::int AS type, floor(random() * {slots})::int AS status
          FROM generate_series(1, {rows}) AS n) AS listed
  JOIN types ON types.slot = listed.type
  JOIN statuses ON statuses.slot = listed.status{new_sources}
"""


def make(server: Database, key: str, rows: int) -> Database:
    """A database with that many rows, carried up to the moment before the backfill."""
    from django.core.management import call_command

    template = create(server, f"template_{key}")
    with django_uses(template):
        call_command("migrate", interactive=False, verbosity=0)
        with template.connect() as connection:
            _load(connection, key, rows)
            _carry_out(connection, PLANS[key])
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
    return template


def _load(connection: Connection, key: str, rows: int) -> None:
    """Rows one after the other into a table with its indexes, as an application would have."""
    connection.execute(
        sql.SQL(TABLE).format(key_type=code(KEYS[key]), key_default=KEY_DEFAULTS[key])
    )
    connection.execute(
        sql.SQL(INDEXES).format(table=sql.Identifier("listings"), prefix=sql.SQL("listings"))
    )
    insert_listings(connection, sql.Identifier("listings"), KEY_VALUES[key], rows)
    connection.execute("SELECT setval('listing_ids', %s)", [rows])


def insert_listings(
    connection: Connection, into: sql.Composable, key: sql.Composable, rows: int
) -> None:
    """Untidy rows, the same each time, into a table that has the columns of a listing."""
    connection.execute("SELECT setseed(0.5)")
    spellings(connection, "types", weighted_spellings(TYPES))
    spellings(connection, "statuses", weighted_spellings(STATUSES))
    # So many changes would only be logged to be forgotten; what is measured is logged as usual.
    with settings(connection, fsync="off", full_page_writes="off", max_wal_size="8GB"):
        connection.execute(
            sql.SQL(ROWS).format(
                into=into,
                key=key,
                rows=sql.Literal(rows),
                slots=sql.Literal(SLOTS),
                new_values=sql.SQL(""),
                new_sources=sql.SQL(""),
            )
        )
        connection.execute("CHECKPOINT")
    # Else the system would write it to disk beside the first loops.
    os.sync()


def spellings(connection: Connection, name: str, weights: Mapping[str | None, float]) -> None:
    """A table of slots, of which each spelling has its share, the rarest at least one."""
    texts = [text for text, weight in weights.items() for _ in range(round(weight * SLOTS) or 1)]
    commonest = max(weights, key=lambda text: weights[text])
    texts = [*texts, *[commonest] * SLOTS][:SLOTS]
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT ordinality - 1 AS slot, text").format(
            sql.Identifier(name)
        )
        + sql.SQL(" FROM unnest({}::text[]) WITH ORDINALITY AS t (text)").format(sql.Literal(texts))
    )


@contextmanager
def settings(connection: Connection, **values: str) -> Iterator[None]:
    for name, value in values.items():
        connection.execute(
            sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        )
    connection.execute("SELECT pg_reload_conf()")
    yield
    for name in values:
        connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
    connection.execute("SELECT pg_reload_conf()")


def _carry_out(connection: Connection, plan: Plan) -> None:
    """Phases 0 and 1 by the runner, in this process; of phase 2 what comes before the backfill."""
    from rollout import runner
    from rollout.models import RunState
    from rollout.queries.status import find_rollout
    from rollout.worker.runs import RunJob

    for phase in (0, 1):
        run = runner.start(find_rollout(plan.name, "production"), phase, actor=BENCHMARK)
        RunJob.carry_out(run.pk, run.token)
        run.refresh_from_db()
        assert run.state == RunState.DONE, run.error
    for step in plan.phases[2].steps:
        if isinstance(step, Backfill):
            return
        for action in plan.forward(step).actions:
            assert isinstance(action, Statement)
            ddl.apply(connection, action, NullControl())
