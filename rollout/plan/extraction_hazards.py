"""Questions to groups of columns before they are extracted."""

from psycopg import sql

from rollout.plan.extractions import Extract
from rollout.plan.hazards import MAX_COUNTED, MAX_LISTED, Hazard

_RULES = {
    "newest": "the row of the table holds the newest",
    "most_frequent": "the row of the table holds the most frequent",
    "decide": "people decide what the row of the table holds, before phase 3",
}


def conflicts(extract: Extract) -> Hazard:
    """Keys with more than one group of values, each with the number of its groups."""
    label, listed = extract.table.label, ", ".join(extract.key)
    key = sql.SQL(", ").join(sql.Identifier("g", column) for column in extract.key)
    rule = _RULES.get(extract.conflicts)
    return Hazard(
        name=f"conflicts of {label} ({listed})",
        sql=sql.SQL(
            "SELECT count(*), array_to_string((array_agg(k))[1:{listed}], ', ')"
            " FROM (SELECT format('%s (%s groups, %s rows)', concat_ws(' ', {key}), count(*),"
            " sum(g.rows)) AS k FROM (SELECT {columns}, count(*) AS rows FROM {table} AS t"
            " WHERE NOT ({no_key}) GROUP BY {columns}) AS g"
            " GROUP BY {key} HAVING count(*) > 1 LIMIT {most}) AS found"
        ).format(
            listed=sql.Literal(MAX_LISTED),
            most=sql.Literal(MAX_COUNTED),
            key=key,
            columns=sql.SQL(", ").join(sql.Identifier("t", c) for c in extract.legacy),
            table=extract.table.identifier,
            no_key=sql.SQL(" AND ").join(
                extract.is_empty(c, sql.Identifier("t", c)) for c in extract.key
            ),
        ),
        finding=f"{{count}} keys ({listed}) of {label} have more than one group of values"
        + (f": {rule}." if rule else "."),
        none=f"Every key ({listed}) of {label} has one group of values.",
        advice="Audits count the other rows as lossy, and the archive keeps their values."
        if rule
        else "Correct these rows, or say with conflicts= which values a row of "
        f"{extract.lookup_label} holds.",
        reads=label,
        blocks=not rule,
        stays=True,
    )


def empty_groups(extract: Extract) -> Hazard:
    """Rows that have no value in any column of the group, where the new column needs one."""
    table = extract.table
    return Hazard(
        name=f"rows of {table.label} without {extract.column}",
        sql=sql.SQL(
            "SELECT count(*), array_to_string((array_agg(k))[1:{listed}], ', ')"
            " FROM (SELECT concat_ws(' ', {key}) AS k FROM {table} AS t WHERE {empty}"
            " LIMIT {most}) AS found"
        ).format(
            listed=sql.Literal(MAX_LISTED),
            most=sql.Literal(MAX_COUNTED),
            key=table.key_of("t"),
            table=table.identifier,
            empty=sql.SQL(" AND ").join(
                extract.is_empty(c, sql.Identifier("t", c)) for c in extract.legacy
            ),
        ),
        finding=f"{{count}} rows of {table.label} have no value in {', '.join(extract.legacy)}.",
        none=f"Every row of {table.label} has a value in {', '.join(extract.legacy)}.",
        advice=f"Give them one, or write required=False for {extract.column}.",
        reads=table.label,
        stays=True,
    )
