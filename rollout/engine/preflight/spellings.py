"""Legacy texts and lookup rows, as each is to become the other."""

from psycopg import sql

from rollout.engine.preflight.item import Item, Scope, rows
from rollout.engine.target import Connection, ask
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, meaning, text_of_row
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


def long_texts(connection: Connection, scope: Scope) -> Item:
    """Legacy texts that are too long for the name of a lookup row, and that nobody decided on."""
    name = "texts too long for a lookup row"
    found = [
        said for x in scope.plan.lookups if (said := _too_long(connection, x, scope.plan.name))
    ]
    if not found:
        return Item(name, "pass", "Each legacy text is short enough for the name of a lookup row.")
    return Item(
        name,
        "warns",
        "; ".join(found) + ".",
        "They stay unmapped, and the audit of phase 2 fails for it: say in the mapping review what "
        "each of them becomes.",
    )


def _too_long(connection: Connection, lookup: Lookup, plan: str) -> str:
    """How many texts of a column, and the beginning of three; empty where there is none."""
    longest = sql.Literal(lookup.longest)
    row = connection.execute(
        sql.SQL(
            "SELECT count(*), string_agg(format('“%s…” (%s characters)', left(legacy, 40),"
            " length(legacy)), ', ') FILTER (WHERE n <= 3) FROM (SELECT legacy, row_number() OVER"
            " (ORDER BY legacy) AS n FROM (SELECT DISTINCT {legacy} AS legacy FROM {table}"
            " WHERE length({legacy}) > {longest}) AS d CROSS JOIN LATERAL ({meaning}) AS says"
            " WHERE length(says.name) > {longest}) AS found"
        ).format(
            legacy=lookup.text(sql.Identifier(lookup.legacy)),
            table=lookup.table.identifier,
            longest=longest,
            meaning=meaning(
                lookup,
                plan,
                sql.Identifier("d", "legacy"),
                decided=ask(connection, facts.relation_exists(DECISIONS)),
            ),
        )
    ).fetchone()
    count, examples = row or (0, "")
    if not count:
        return ""
    label = f"{lookup.table.label}.{lookup.legacy}"
    texts = "1 text" if count == 1 else f"{count:,} texts"
    return f"{label} has {texts} of more than {lookup.longest} characters: {examples}"
