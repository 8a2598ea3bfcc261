"""The columns of a live database that refer to another one, for scaffolding a first plan."""

from dataclasses import replace

from psycopg import sql

from rollout.engine.target import Connection, fetch_bool
from rollout.plan.carried_objects import name_pattern
from rollout.plan.table import Column, Table


def key_of(connection: Connection, oid: int) -> tuple[str, ...]:
    """The columns of a table's primary key, in order."""
    rows = connection.execute(
        "SELECT a.attname FROM pg_index x"
        " CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS k (n, o)"
        " JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n"
        " WHERE x.indrelid = %s AND x.indisprimary ORDER BY k.o",
        [oid],
    ).fetchall()
    return tuple(column for (column,) in rows)


def _columns_of(connection: Connection, oid: int) -> dict[str, Column]:
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute"
        " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [oid],
    ).fetchall()
    return {name: Column(type_, null) for name, type_, null in rows}


def is_partitioned_by(connection: Connection, oid: int, column: str) -> bool:
    """Whether a table, or one of its partitions, is partitioned by a column."""
    return fetch_bool(
        connection,
        sql.SQL(
            "EXISTS (SELECT FROM pg_partition_tree({}) AS p WHERE pg_get_partkeydef(p.relid) ~ {})"
        ).format(sql.Literal(oid), name_pattern(column)),
    )


def referrers_of(
    connection: Connection, oid: int, table: Table, column: str
) -> tuple[Table, tuple[tuple[Table, str], ...]]:
    """The table with its own columns that refer to a column of it, and all columns that do.

    Each has its table, which is the same object for columns of one table. A foreign key may be that
    of a partition, or refer to one.
    """
    rows = connection.execute(
        "SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', a.attname FROM pg_constraint AS k"
        " JOIN pg_class AS c ON c.oid = coalesce(pg_partition_root(k.conrelid), k.conrelid)"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " CROSS JOIN unnest(k.conkey, k.confkey) AS u (own, far)"
        " JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.own"
        " JOIN pg_attribute AS f ON f.attrelid = k.confrelid AND f.attnum = u.far"
        " WHERE k.confrelid IN (SELECT %(oid)s UNION SELECT relid FROM pg_partition_tree(%(oid)s))"
        " AND k.contype = 'f' AND k.conparentid = 0 AND f.attname = %(column)s"
        " AND format_type(a.atttypid, a.atttypmod) IN ('smallint', 'integer')"
        " GROUP BY 1, 2, 3, 4, 5 ORDER BY 2, 3, 5",
        {"oid": oid, "column": column},
    ).fetchall()
    tables = {oid: table}
    for referring, schema, name, partitioned, own in rows:
        known = _columns_of(connection, referring)
        key = key_of(connection, referring)
        of = tables.get(referring) or Table(
            schema=schema,
            name=name,
            key=key,
            partitioned=partitioned,
            columns={c: known[c] for c in key},
        )
        tables[referring] = replace(of, columns={**of.columns, own: known[own]})
    return tables[oid], tuple((tables[referring], own) for referring, *_, own in rows)
