"""An index of a partitioned table, without a lock that the application would feel for long.

PostgreSQL neither builds nor drops such an index concurrently. So it is made on the parents alone,
which takes no time and leaves it invalid, then built concurrently on each partition that holds
rows, and attached; with the last one the parent's index is valid. Which partitions there are is for
the target to say: it writes the statements.
"""

from collections.abc import Sequence

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import NO_END, Lock, LockMode, Statement
from rollout.plan.hazards import duplicates_of
from rollout.plan.plan import Actions
from rollout.plan.table import Table

_PARTS = """
WITH parts AS (
  SELECT p.relid, p.parentrelid, p.isleaf, p.level, c.relnamespace::regnamespace AS place,
         CASE WHEN p.level = 0 THEN {name}
              WHEN octet_length({name} || '_' || c.relname) <= 63 THEN {name} || '_' || c.relname
              ELSE 'part_' || md5({name} || '_' || c.relname) END AS index_name
    FROM pg_partition_tree({table}) AS p JOIN pg_class AS c ON c.oid = p.relid
), indexes AS (
  SELECT p.*, to_regclass(format('%s.%I', place, index_name)) AS index,
         -- A partition that was made since has an index of the server's own.
         EXISTS (SELECT FROM pg_inherits AS h JOIN pg_index AS x ON x.indexrelid = h.inhrelid
                  JOIN parts AS up ON up.relid = p.parentrelid
                  WHERE x.indrelid = p.relid
                    AND h.inhparent = to_regclass(format('%s.%I', up.place, up.index_name)))
         AS attached
    FROM parts AS p
)
"""


def _query(table: Table, name: str, select: str, **more: sql.Composable) -> sql.Composed:
    return sql.SQL(_PARTS + select).format(name=sql.Literal(name), table=table.regclass, **more)


def _none(query: sql.Composed) -> sql.Composed:
    return sql.SQL("NOT EXISTS ({})").format(query)


def create_index(table: Table, name: str, columns: tuple[str, ...], *, unique: bool) -> Actions:
    """The statements that build it, whatever of it is there already."""
    valid = facts.index_is_valid(table.schema, name)
    listed = sql.Literal(
        "(" + sql.SQL(", ").join(sql.Identifier(column) for column in columns).as_string() + ")"
    )
    kind = sql.SQL("UNIQUE " if unique else "")
    building = (Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),)

    def query(select: str) -> sql.Composed:
        return _query(table, name, select, columns=listed, kind=kind)

    parents = query(
        "SELECT format('CREATE {kind}INDEX %I ON ONLY %s %s', index_name, relid::regclass,"
        " {columns}) FROM indexes WHERE NOT isleaf AND NOT attached AND index IS NULL"
        " ORDER BY level"
    )
    broken = query(
        "SELECT format('DROP INDEX CONCURRENTLY %s', index) FROM indexes"
        " JOIN pg_index AS x ON x.indexrelid = index WHERE isleaf AND NOT x.indisvalid"
    )
    missing = query(
        "SELECT format('CREATE {kind}INDEX CONCURRENTLY %I ON %s %s', index_name, relid::regclass,"
        " {columns}) FROM indexes WHERE isleaf AND NOT attached AND index IS NULL ORDER BY 1"
    )
    loose = query(
        "SELECT format('ALTER INDEX %s ATTACH PARTITION %s', up.place || '.' ||"
        " quote_ident(up.index_name), i.index) FROM indexes AS i"
        " JOIN parts AS up ON up.relid = i.parentrelid"
        " WHERE NOT i.attached AND i.index IS NOT NULL ORDER BY i.level DESC, 1"
    )
    return (
        Statement(
            sql=parents,
            done=_none(parents),
            locks=(Lock(LockMode.SHARE, table.label),),
            generates=True,
        ),
        Statement(sql=broken, done=_none(broken), locks=building, long=True, generates=True),
        Statement(
            sql=missing,
            done=_none(missing),
            locks=building,
            long=True,
            scans=2,
            generates=True,
            refused_by=duplicates_of(table, columns) if unique else None,
        ),
        Statement(
            sql=loose,
            done=valid,
            # The lock of the partition's index, which its readers open.
            locks=(Lock(LockMode.ACCESS_EXCLUSIVE, table.label),),
            generates=True,
        ),
    )


def drop_index(table: Table, name: str) -> Actions:
    """The statements that drop it from all partitions at once, and what a build left behind."""
    index = sql.Identifier(table.schema, name)
    parents = _query(
        table,
        name,
        "SELECT format('DROP INDEX %s', index) FROM indexes"
        " WHERE NOT isleaf AND NOT attached AND index IS NOT NULL ORDER BY level",
    )
    leaves = _query(
        table,
        name,
        "SELECT format('DROP INDEX CONCURRENTLY %s', index) FROM indexes"
        " WHERE isleaf AND index IS NOT NULL",
    )
    return (
        Statement(
            sql=parents,
            done=facts.all_of(facts.no(facts.relation_exists(index)), _none(parents)),
            locks=(Lock(LockMode.ACCESS_EXCLUSIVE, table.label),),
            generates=True,
        ),
        Statement(
            sql=leaves,
            done=_none(leaves),
            locks=(Lock(LockMode.SHARE_UPDATE_EXCLUSIVE, table.label),),
            long=True,
            generates=True,
        ),
    )


def drop_not_null_of_partitions(table: Table, columns: Sequence[str]) -> Statement:
    """Drop the NOT NULL that partitions have left of columns whose table has none any more.

    From PostgreSQL 18 on it is their own of the columns of a primary key that was made of an index.
    """
    left = sql.SQL(
        "SELECT format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', a.attrelid::regclass,"
        " a.attname) FROM ({relations}) AS r"
        " JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = ANY ({columns})"
        " JOIN pg_attribute AS own ON own.attrelid = {table} AND own.attname = a.attname"
        " WHERE a.attnotnull AND NOT own.attnotnull ORDER BY a.attrelid"
    ).format(table=table.regclass, relations=table.relations, columns=sql.Literal(list(columns)))
    return Statement(
        sql=left,
        done=_none(left),
        locks=(Lock(LockMode.ACCESS_EXCLUSIVE, table.label),),
        servers=(18, NO_END),
        generates=True,
    )
