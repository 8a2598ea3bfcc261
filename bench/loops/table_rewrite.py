"""A new table with the new values, its key and its indexes, in the old one's place: the floor.

Writers are kept out from beginning to end, else what they wrote would be lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from bench.loops.base import Bounds, Copy, Run, Stopwatch, Work
from bench.server import Connection
from bench.template import INDEXES, KEY_DEFAULTS
from rollout.plan.transition import triggers


@contextmanager
def table_rewrite(copy: Copy) -> Iterator[Run]:
    with copy.database.connect() as connection:
        table = _with_new_values(connection, copy)
        statements: list[sql.Composed | sql.SQL] = [
            sql.SQL("ALTER TABLE rewritten ADD PRIMARY KEY (id)"),
            sql.SQL("ALTER TABLE rewritten ALTER id SET DEFAULT {}").format(KEY_DEFAULTS[copy.key]),
            sql.SQL("DROP TABLE listings"),
            sql.SQL("ALTER TABLE rewritten RENAME TO listings"),
            triggers(copy.plan, copy.plan.tables[0]).install("forward").sql,
        ]
        indexes = sql.SQL(INDEXES).format(table=sql.Identifier("rewritten"), prefix=sql.SQL("new"))
        statements.insert(1, indexes)

        def run(bounds: Bounds) -> Work:
            watch = Stopwatch(bounds)
            with connection.transaction():
                connection.execute("LOCK TABLE listings IN SHARE MODE")
                watch.rows = connection.execute(table).rowcount
                for statement in statements:
                    connection.execute(statement)
            return watch.work()

        yield run


def _with_new_values(connection: Connection, copy: Copy) -> sql.Composed:
    values = {assignment.column: assignment.value for assignment in copy.fill.assignments}
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'listings'::regclass AND attnum > 0"
        " AND NOT attisdropped ORDER BY attnum"
    ).fetchall()
    return sql.SQL("CREATE TABLE rewritten AS SELECT {} FROM {} WHERE {}").format(
        sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(
                values.get(name, sql.Identifier("t", name)), sql.Identifier(name)
            )
            for (name,) in columns
        ),
        sql.SQL(", ").join((sql.SQL("listings AS t"), *copy.fill.joins)),
        sql.SQL(" AND ").join(copy.fill.matches),
    )
