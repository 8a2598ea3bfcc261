"""Introspects a live table that no plan knows yet, for scaffolding a first plan."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import errors, sql

from rollout.engine import integer_keys
from rollout.engine.column_groups import COUNT_SECONDS, PART_ROWS, ColumnGroup, repeated_groups
from rollout.engine.integer_keys import IntegerKey
from rollout.engine.referrers import is_partitioned_by, key_of, referrers_of
from rollout.engine.target import Connection
from rollout.plan.errors import RolloutError
from rollout.plan.names import normal
from rollout.plan.table import Column, Table

# What other types texts look like, by regular expressions over normal forms. The first of two that
# fit as many rows is taken.
KINDS = {
    "boolean": "yes|no|y|n|true|false|t|f|1|0|on|off",
    "bigint": "[+-]?[0-9]{1,18}",
    "numeric": "[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)",
    "date": "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
    "dotted date": "(0?[1-9]|[12][0-9]|3[01])[.](0?[1-9]|1[0-2])[.][0-9]{4}",
    "timestamp without time zone": "[0-9]{4}-[0-9]{2}-[0-9]{2}[ t][0-9]{2}:[0-9]{2}(:[0-9.]+)?",
    "timestamp with time zone": "[0-9]{4}-[0-9]{2}-[0-9]{2}[ t][0-9]{2}:[0-9]{2}(:[0-9.]+)?"
    " ?(z|[+-][0-9]{2}(:?[0-9]{2})?)",
}
# The share of rows that must look so; the others are for people to decide about.
_MOST = 0.9


class TableNotFound(RolloutError, LookupError):
    """There is no such table or column; the message names those that there are."""


@dataclass(frozen=True)
class Index:
    """An index that covers one of the columns asked for.

    ``plain`` tells that a plan can name it by its columns alone; ``of_constraint`` that a
    constraint keeps it.
    """

    name: str
    columns: tuple[str, ...]
    covers: frozenset[str]
    """Columns that it needs, those of expressions and conditions included."""
    unique: bool
    plain: bool
    of_constraint: bool
    definition: str


@dataclass(frozen=True)
class Texts:
    """What a column holds: rows counted, distinct values and normal forms, blanks, the longest."""

    rows: int
    distinct: int
    forms: int
    blank: int
    longest: int
    in_part: bool
    """Whether only a part of the table was counted."""
    frequent: tuple[str, ...]
    """The most frequent normal forms, at most 12, blanks aside."""
    kind: str = ""
    """One of ``KINDS`` that nearly all rows look like; empty for none."""
    unlike: int = 0
    """How many rows look otherwise, blanks aside."""
    unlike_examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableInfo:
    """A live table: its key, the columns asked for, what covers them, and names already taken."""

    table: Table
    generated: frozenset[str]
    indexes: tuple[Index, ...]
    taken_columns: frozenset[str]
    taken_relations: frozenset[str]
    texts: dict[str, Texts] = field(default_factory=dict)
    integer_keys: tuple[IntegerKey, ...] = ()
    """The columns that number its rows."""
    loosely_compared: frozenset[str] = frozenset()
    """Columns whose collation is not deterministic: texts that differ are equal there."""
    groups: tuple[ColumnGroup, ...] = ()
    """Groups of the columns asked for whose values repeat together."""
    narrow: str = ""
    """The column that alone was asked for, if it numbers rows and a bigint is wider."""
    referrers: tuple[tuple[Table, str], ...] = ()
    """The columns that refer to the narrow one."""
    is_partitioned_by: bool = False
    """Whether the table, or one of its partitions, is partitioned by the narrow column."""


def introspect(connection: Connection, name: str, columns: Sequence[str]) -> TableInfo:
    """Read a table by its name, ``schema.name`` where that is not public. Raises TableNotFound."""
    oid, schema, relation, kind = _find(connection, name)
    live = {
        column: (Column(type_, null), generated, default, has_texts)
        for column, type_, null, generated, default, has_texts in connection.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,"
            " a.attgenerated <> '', pg_get_expr(d.adbin, d.adrelid),"
            " y.typcategory IN ('S', 'E') AND y.typname NOT IN ('bpchar', 'name')"
            " FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_attrdef d"
            "   ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
            " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [oid],
        ).fetchall()
    }
    for column in columns:
        if column not in live:
            raise TableNotFound(
                f"{name} has no column '{column}'. Its columns: {', '.join(map(repr, live))}."
            )
    key = key_of(connection, oid)
    indexes = _indexes(connection, oid, columns)
    # What a step drops or builds is over columns that the plan knows.
    indexed = [column for index in indexes if index.plain for column in index.columns]
    table = Table(
        name=relation,
        schema=schema,
        key=key,
        partitioned=kind == "p",
        columns={column: live[column][0] for column in dict.fromkeys((*key, *columns, *indexed))},
    )
    loosely_compared = frozenset(
        column
        for (column,) in connection.execute(
            "SELECT a.attname FROM pg_attribute a JOIN pg_collation k ON k.oid = a.attcollation"
            " WHERE a.attrelid = %s AND NOT k.collisdeterministic",
            [oid],
        ).fetchall()
    )
    texts = {
        column: _texts(connection, table, column)
        for column in columns
        if live[column][3] and column not in loosely_compared
    }
    numbers = tuple(integer_keys.read(connection, [table.label]))
    narrow = _narrow(table, columns, numbers)
    referrers: tuple[tuple[Table, str], ...] = ()
    if narrow:
        table, referrers = referrers_of(connection, oid, table, narrow)
    # What looks like a number or a time tells nothing apart.
    by_words = [column for column, of in texts.items() if not of.kind]
    return TableInfo(
        table=table,
        loosely_compared=loosely_compared,
        generated=frozenset(column for column in columns if live[column][1]),
        indexes=indexes,
        taken_columns=frozenset(live),
        taken_relations=_relations(connection, schema),
        integer_keys=numbers,
        texts=texts,
        groups=repeated_groups(connection, table, list(texts), keys=by_words),
        narrow=narrow,
        referrers=referrers,
        is_partitioned_by=narrow != "" and is_partitioned_by(connection, oid, narrow),
    )


def _narrow(table: Table, columns: Sequence[str], numbers: Sequence[IntegerKey]) -> str:
    if len(set(columns)) != 1 or table.columns[columns[0]].type not in ("smallint", "integer"):
        return ""
    numbering = {*table.key, *(number.column for number in numbers)}
    return columns[0] if columns[0] in numbering else ""


def _find(connection: Connection, name: str) -> tuple[int, str, str, str]:
    query = (
        "SELECT c.oid, n.nspname, c.relname, c.relkind::text FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'rollout') AND {}"
    )
    names = "(n.nspname = ANY (current_schemas(false)) AND c.relname = %(name)s"
    rows = connection.execute(
        query.format(f"{names} OR n.nspname || '.' || c.relname = %(name)s)").encode()
        + b" ORDER BY n.nspname <> 'public'",
        {"name": name},
    ).fetchall()
    if rows:
        oid, schema, relation, kind = rows[0]
        return int(oid), schema, relation, kind
    alike = connection.execute(
        query.format(
            "lower(%(name)s) IN (lower(c.relname), lower(n.nspname || '.' || c.relname))"
        ).encode()
        + b" ORDER BY 2, 3",
        {"name": name},
    ).fetchall()
    if not alike:
        raise TableNotFound(f"Table '{name}' not found. Use schema.table for other schemas.")
    others = " or ".join(
        f"'{relation}'" if schema == "public" else f"'{schema}.{relation}'"
        for _, schema, relation, _ in alike
    )
    raise TableNotFound(f"Table '{name}' not found. Did you mean {others}?")


def _indexes(connection: Connection, oid: int, columns: Sequence[str]) -> tuple[Index, ...]:
    rows = connection.execute(
        "SELECT i.relname, ARRAY(SELECT a.attname::text"
        "   FROM unnest(x.indkey) WITH ORDINALITY AS k (n, o)"
        "   JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.n ORDER BY k.o),"
        # A constraint stands between its columns and its index.
        " ARRAY(SELECT a.attname::text FROM pg_depend d"
        "   JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        "   WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid"
        "   AND (d.objid = x.indexrelid OR d.objid IN (SELECT k.oid FROM pg_constraint k"
        "     WHERE k.conindid = x.indexrelid AND k.conrelid = x.indrelid))),"
        " x.indisunique,"
        # No expression, condition, other order or collation, and nothing but a btree.
        " m.amname = 'btree' AND x.indexprs IS NULL AND x.indpred IS NULL"
        "   AND x.indnatts = x.indnkeyatts AND 0 = ALL (x.indoption::smallint[])"
        "   AND NOT EXISTS (SELECT FROM unnest(x.indclass, x.indcollation, x.indkey)"
        "     AS u (class, rules, n) JOIN pg_opclass o ON o.oid = u.class"
        "     JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.n"
        "     WHERE NOT o.opcdefault OR a.attcollation <> u.rules),"
        " EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid),"
        " pg_get_indexdef(x.indexrelid)"
        " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam"
        " WHERE x.indrelid = %(oid)s AND NOT x.indisprimary ORDER BY 1",
        {"oid": oid},
    ).fetchall()
    indexes = (Index(name, tuple(of), frozenset(needs), *more) for name, of, needs, *more in rows)
    return tuple(index for index in indexes if index.covers & set(columns))


def _relations(connection: Connection, schema: str) -> frozenset[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s",
        [schema],
    ).fetchall()
    return frozenset(name for (name,) in rows)


def _texts(connection: Connection, table: Table, column: str) -> Texts:
    try:
        return _count(connection, table, column, in_part=False)
    except errors.QueryCanceled:
        return _count(connection, table, column, in_part=True)


def _count(connection: Connection, table: Table, column: str, *, in_part: bool) -> Texts:
    rows = sql.SQL("SELECT {}::text AS legacy FROM {}{}").format(
        sql.Identifier(column),
        table.identifier,
        sql.SQL(f" LIMIT {PART_ROWS}" if in_part else ""),
    )
    form = normal(sql.SQL("coalesce(legacy, '')"))
    with connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = '{COUNT_SECONDS}s'".encode())
        counted = connection.execute(
            sql.SQL(
                "SELECT coalesce(sum(n), 0), count(legacy), count(DISTINCT form),"
                " coalesce(sum(n) FILTER (WHERE form = ''), 0), coalesce(max(length(legacy)), 0)"
                " FROM (SELECT legacy, {form} AS form, count(*) AS n FROM ({rows}) AS r"
                " GROUP BY 1) AS found"
            ).format(form=form, rows=rows)
        ).fetchone()
        frequent = connection.execute(
            sql.SQL(
                "SELECT {form} FROM ({rows}) AS r WHERE {form} <> '' GROUP BY 1"
                " ORDER BY count(*) DESC, 1 LIMIT 12"
            ).format(form=form, rows=rows)
        ).fetchall()
        looks_like = {name: sql.Literal(f"^({pattern})$") for name, pattern in KINDS.items()}
        shares = connection.execute(
            sql.SQL("SELECT {} FROM ({}) AS r WHERE {} <> ''").format(
                sql.SQL(", ").join(
                    sql.SQL("count(*) FILTER (WHERE {} ~ {})").format(form, pattern)
                    for pattern in looks_like.values()
                ),
                rows,
                form,
            )
        ).fetchone()
        assert counted is not None
        assert shares is not None
        number, distinct, forms, blank, longest = map(int, counted)
        alike, kind = max(zip(shares, KINDS, strict=True), key=lambda share: share[0])
        others: list[tuple[str]] = []
        if not alike or alike < _MOST * (number - blank):
            alike, kind = number - blank, ""
        elif alike < number - blank:
            others = connection.execute(
                sql.SQL(
                    "SELECT min(legacy) FROM ({}) AS r WHERE {} <> '' AND {} !~ {}"
                    " GROUP BY {} ORDER BY count(*) DESC, 1 LIMIT 3"
                ).format(rows, form, form, looks_like[kind], form)
            ).fetchall()
    return Texts(
        *(number, distinct, forms, blank, longest, in_part),
        frequent=tuple(text for (text,) in frequent),
        kind=kind,
        unlike=number - blank - alike,
        unlike_examples=tuple(text for (text,) in others),
    )
