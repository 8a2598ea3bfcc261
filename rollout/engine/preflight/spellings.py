"""The texts that lookup rows are written as, once the new columns lead."""

from psycopg import sql

from rollout.engine.preflight.item import Item, Scope, rows
from rollout.engine.target import Connection
from rollout.plan.mapping import text_of_row
from rollout.plan.names import code
from rollout.plan.translations import Lookup


def impossible_texts(connection: Connection, scope: Scope) -> Item:
    """Lookup rows whose text a CHECK of the legacy column refuses.

    A row is written as a text that the column has had; one that no row ever meant, as its name.
    """
    name = "lookup rows that legacy columns cannot hold"
    found = [
        f"{lookup.table.label}.{lookup.legacy} cannot hold {names}"
        for lookup in scope.plan.lookups
        if (names := _impossible(connection, lookup, scope.plan.name))
    ]
    if not found:
        return Item(name, "pass", "Each lookup row has a text that its legacy column can hold.")
    return Item(
        name,
        "warns",
        "; ".join(found) + ".",
        "Writing such a row fails from the cutover until the legacy column is dropped: drop the "
        "CHECK, or have the application write other rows until then.",
    )


def _impossible(connection: Connection, lookup: Lookup, plan: str) -> str:
    """The names of lookup rows whose text is impossible, at most ten; empty where there is none."""
    checks = rows(
        connection,
        """
        SELECT pg_get_expr(k.conbin, k.conrelid), format_type(a.atttypid, NULL)
          FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid
         WHERE k.conrelid = to_regclass(%(table)s) AND k.contype = 'c'
           AND a.attname = %(column)s AND k.conkey = ARRAY[a.attnum]
         ORDER BY k.conname
        """,
        table=lookup.table.identifier.as_string(),
        column=lookup.legacy,
    )
    if not checks:
        return ""
    found = connection.execute(
        sql.SQL(
            "SELECT string_agg('“' || n || '”', ', ' ORDER BY n) FROM (SELECT l.name AS n FROM {}"
            " AS l CROSS JOIN LATERAL (SELECT {}::{} AS {}) AS t WHERE {} ORDER BY 1 LIMIT 10)"
            " AS r"
        ).format(
            lookup.lookup_sql,
            text_of_row(lookup, plan, "l"),
            code(checks[0][1]),
            sql.Identifier(lookup.legacy),
            sql.SQL(" OR ").join(
                sql.SQL("({}) IS FALSE").format(code(check)) for check, _ in checks
            ),
        )
    ).fetchone()
    return str(found[0] or "") if found else ""
