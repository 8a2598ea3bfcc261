"""What people decide about keys of an extraction that have several groups of values, as SQL.

A decision is about a key and gives the row of that key its other values. It holds for the values
that are there when it is made, or when phase 2 makes the rows; what is written later counts.
"""

from collections.abc import Mapping, Sequence

from psycopg import sql

from rollout.plan.extractions import Extract
from rollout.plan.names import code, in_target
from rollout.plan.resolvers import owned_function
from rollout.plan.session_settings import OF_EXPRESSIONS
from rollout.plan.value_decisions import VALUE_DECISIONS, decisions_about, source_text


def source_of_key(extract: Extract, values: Mapping[str, sql.Composable]) -> sql.Composed:
    """SQL of a key, of values by legacy column, as decisions know it."""
    return source_text(extract.told_by(c, values[c]) for c in extract.key)


def of_home(extract: Extract, row: str) -> dict[str, sql.Composable]:
    """By legacy column, its value in row ``row`` of the table."""
    return {c: sql.Identifier(row, c) for c in extract.legacy}


def of_row(extract: Extract, row: str) -> dict[str, sql.Composable]:
    """The same in row ``row`` of the new table."""
    return {c: sql.Identifier(row, name) for c, name in extract.names.items()}


def has_key(extract: Extract, values: Mapping[str, sql.Composable]) -> sql.Composed:
    """SQL condition: a group has a value in a column of the key."""
    return sql.SQL("NOT ({})").format(
        sql.SQL(" AND ").join(extract.is_empty(c, values[c]) for c in extract.key)
    )


def is_decided(extract: Extract, row: str) -> sql.Composed:
    """SQL condition: people decided about the key of row ``row``. For as long as the dual write."""
    return sql.SQL("{} ({})").format(
        in_target(extract.decided_name),
        sql.SQL(", ").join(sql.Identifier(row, c) for c in extract.key),
    )


def is_undecided(extract: Extract, row: str) -> sql.Composed:
    """SQL condition: row ``row`` has other values than the row of its key, and nobody decided."""
    own = of_home(extract, row)
    return sql.SQL(
        "({has_key} AND {id} IS NOT NULL AND NOT EXISTS (SELECT FROM {into} AS e WHERE e.id = {id}"
        " AND {same}) AND NOT {decided})"
    ).format(
        has_key=has_key(extract, own),
        id=sql.Identifier(row, extract.column),
        into=extract.lookup_sql,
        same=sql.SQL(" AND ").join(
            extract.same(c, value, own[c]) for c, value in of_row(extract, "e").items()
        ),
        decided=is_decided(extract, row),
    )


def decided_definition(extract: Extract, plan: str) -> sql.Composed:
    """SQL that creates the function of the values of a key: did people decide about it?"""
    source = source_of_key(extract, {c: code(f"${n}") for n, c in enumerate(extract.key, start=1)})
    return owned_function(
        extract.decided_name,
        arguments=types_of_key(extract),
        returns="boolean",
        schema=extract.table.schema,
        body=[
            sql.SQL(
                # The index holds the digest: a text may be too long for it.
                "  RETURN EXISTS (SELECT FROM {} AS d WHERE {}"
                " AND md5(d.source) = md5({source}) AND d.source = {source});"
            ).format(VALUE_DECISIONS, decisions_about(extract, plan, "d"), source=source)
        ],
        settings=OF_EXPRESSIONS,
    )


def drop_decided(extract: Extract) -> sql.Composed:
    return sql.SQL("DROP FUNCTION IF EXISTS {} ({})").format(
        in_target(extract.decided_name), code(types_of_key(extract))
    )


def types_of_key(extract: Extract) -> str:
    return ", ".join(extract.of_legacy(column).type for column in extract.key)


def conflicting_keys(extract: Extract, *, with_rows: bool) -> sql.Composed:
    """A query of every key with several groups: ``source``, ``rows`` that hold others' values,
    ``first`` and ``last`` of their keys, and the ``groups``, each a list of values and of rows.

    ``with_rows``: the rows of the new table are there, and what they hold is a group too.
    """
    groups = [_groups(extract, extract.table.identifier, "t", of_home(extract, "t"), held=False)]
    if with_rows:
        groups.append(_groups(extract, extract.lookup_sql, "e", of_row(extract, "e"), held=True))
    return sql.SQL(
        "SELECT k.source, (sum(k.rows) - coalesce(max(k.rows){of_row}, 0))::bigint AS rows,"
        " min(k.first) AS first, max(k.last) AS last,"
        " jsonb_agg(jsonb_build_array(k.values, k.rows) ORDER BY k.rows DESC, k.values) AS groups"
        " FROM (SELECT g.source, g.values, sum(g.rows)::bigint AS rows, min(g.first) AS first,"
        " max(g.last) AS last, bool_or(g.held) AS held FROM ({groups}) AS g"
        " GROUP BY g.source, g.values) AS k GROUP BY k.source HAVING count(*) > 1"
    ).format(
        of_row=sql.SQL(" FILTER (WHERE k.held)" if with_rows else ""),
        groups=sql.SQL(" UNION ALL ").join(groups),
    )


def _groups(
    extract: Extract,
    relation: sql.Identifier,
    row: str,
    values: Mapping[str, sql.Composable],
    *,
    held: bool,
) -> sql.Composed:
    key = extract.table.key_texts("t")
    first, last = (sql.SQL("{}({})").format(sql.SQL(f), key) for f in ("min", "max"))
    return sql.SQL(
        "SELECT {source} AS source, {values} AS values, {rows} AS rows, {first} AS first,"
        " {last} AS last, {held} AS held FROM {relation} AS {row} WHERE {has_key} GROUP BY 1, 2"
    ).format(
        source=source_of_key(extract, values),
        values=sql.SQL("to_jsonb(ARRAY[{}]::text[])").format(
            sql.SQL(", ").join(extract.told_by(c, values[c]) for c in extract.decides_of)
        ),
        rows=sql.SQL("0" if held else "count(*)"),
        first=sql.SQL("NULL::text[]") if held else first,
        last=sql.SQL("NULL::text[]") if held else last,
        held=sql.Literal(held),
        relation=relation,
        row=sql.Identifier(row),
        has_key=has_key(extract, values),
    )


def decided_values(extract: Extract, decision: str) -> dict[str, sql.Composed]:
    """By new column, what row ``decision`` of the decisions gives it."""
    return {
        extract.names[c]: sql.SQL("({} ->> {})::{}").format(
            sql.Identifier(decision, "decided"),
            sql.Literal(extract.names[c]),
            code(extract.of_legacy(c).type),
        )
        for c in extract.decides_of
    }


def hold_decided(extract: Extract, plan: str, sources: Sequence[str]) -> sql.Composed:
    """The UPDATE of the rows of those keys to what people decided."""
    values = decided_values(extract, "d")
    return sql.SQL(
        "UPDATE {} AS e SET {} FROM {} AS d WHERE {} AND d.source = ANY ({}) AND {} = d.source"
    ).format(
        extract.lookup_sql,
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in values.items()
        ),
        VALUE_DECISIONS,
        decisions_about(extract, plan, "d"),
        sql.Literal(list(sources)),
        source_of_key(extract, of_row(extract, "e")),
    )
