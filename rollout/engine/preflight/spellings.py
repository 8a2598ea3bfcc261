"""Whether legacy values fit lookup rows, and the other way round."""

import psycopg
from psycopg import sql

from rollout.engine.lookup_rows import try_missing
from rollout.engine.preflight.item import Item, Scope, rows
from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.mapping import DECISIONS, meaning, text_of_row
from rollout.plan.names import code
from rollout.plan.translations import Lookup


def impossible_texts(connection: Connection, scope: Scope) -> Item:
    """Lookup rows whose text the legacy column's type or a CHECK of it refuses.

    A row is written as a text that the column has had; one that no row ever meant, as its name.
    """
    name = "lookup rows that legacy columns cannot hold"
    problems = [
        f"{lookup.table.label}.{lookup.legacy} cannot hold {names}"
        for lookup in scope.plan.lookups
        if (names := _impossible(connection, lookup, scope.plan.name))
    ]
    if not problems:
        return Item(name, "pass", "The legacy columns can hold the value of every lookup row.")
    return Item(
        name,
        "warns",
        "; ".join(problems) + ".",
        "Writing such a row fails from the cutover until the legacy column is dropped. Extend the "
        "type or the CHECKs, or do not write these rows before then.",
    )


def refused_names(connection: Connection, scope: Scope) -> Item:
    """Lookup rows of the texts that there are, which a rule of the lookup table refuses."""
    name = "lookup rows that the lookup table refuses"
    lookups = scope.plan.lookups
    there = [x for x in lookups if fetch_bool(connection, facts.relation_exists(x.lookup_sql))]
    problems = []
    tried = []
    for lookup in there:
        trial = try_missing(connection, lookup, scope.plan.name)
        if trial.refused:
            refused = ", ".join(f"“{text}” ({why})" for text, why in trial.refused.items())
            more = ", and perhaps more" if trial.has_more else ""
            problems.append(f"The lookup table {lookup.lookup_label} rejects {refused}{more}.")
        first = "" if trial.is_complete else "the first "
        tried.append(f"{lookup.lookup_label}: {first}{trial.tried:,} new rows tested")
    if problems:
        return Item(
            name,
            "blocks",
            " ".join(problems),
            "Change the constraint, or map those values in the mapping review.",
        )
    missing = [lookup.lookup_label for lookup in lookups if lookup not in there]
    if missing:
        return Item(
            name,
            "unknown",
            f"Cannot be checked yet: {', '.join(missing)} does not exist.",
            "Run again when phase 1 is done.",
            not_yet=True,
        )
    return Item(name, "pass", "; ".join(tried) or "The plan creates no lookup rows.")


def new_texts(connection: Connection, scope: Scope) -> Item:
    """What is left of making lookup rows in the application's transactions, for people to know."""
    name = "lookup rows of new texts"
    places = [
        f"{lookup.table.label}.{lookup.legacy}"
        for lookup in scope.plan.lookups
        if lookup.unknown == "create"
    ]
    if not places:
        return Item(name, "pass", "Application writes create no lookup rows.")
    return Item(
        name,
        "info",
        f"The application's transaction that writes a new value of {', '.join(places)} also "
        "creates its lookup row. A second transaction with the same new value waits for the first "
        "once the new column is NOT NULL; until then its row is filled later. A row that is never "
        'stored leaves its value in the lookup table. Set unknown="null" in the Lookup to '
        "create no such rows.",
    )


def _impossible(connection: Connection, lookup: Lookup, plan: str) -> str:
    """The names of lookup rows whose text is impossible, at most ten; empty if there is none."""
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
    refused = {} if lookup.is_text else _refused_by_type(connection, lookup, plan)
    names = list(refused.values())
    if checks:
        impossible = connection.execute(
            sql.SQL(
                "SELECT l.name FROM {} AS l CROSS JOIN LATERAL (SELECT {}::{} AS {}) AS t"
                " WHERE l.id <> ALL ({}) AND ({})"
            ).format(
                lookup.lookup_sql,
                text_of_row(lookup, plan, "l"),
                code(checks[0][1]),
                sql.Identifier(lookup.legacy),
                sql.Literal(list(refused)),
                sql.SQL(" OR ").join(
                    sql.SQL("({}) IS FALSE").format(code(check)) for check, _ in checks
                ),
            )
        ).fetchall()
        names += [name for (name,) in impossible]
    return ", ".join(f"“{name}”" for name in sorted(names)[:10])


def _refused_by_type(connection: Connection, lookup: Lookup, plan: str) -> dict[int, str]:
    """The lookup rows, their names by their ids, whose text is no value of the legacy type."""
    text = sql.Identifier("r", "text")
    kept = sql.SQL('({})::text COLLATE "C" IS NOT DISTINCT FROM {}').format(
        lookup.of_text(text), text
    )
    question = sql.SQL(
        "SELECT r.id, r.name, {} FROM (SELECT l.id, l.name, {} AS text FROM {} AS l) AS r"
    ).format(kept, text_of_row(lookup, plan, "l"), lookup.lookup_sql)
    try:
        with connection.transaction():
            rows = connection.execute(question).fetchall()
    except (psycopg.DataError, psycopg.IntegrityError):
        # Some row's text cannot even be tried; which ones, each tells alone.
        ids = connection.execute(
            sql.SQL("SELECT l.id, l.name FROM {} AS l").format(lookup.lookup_sql)
        ).fetchall()
        rows = [(id_, name, _is_kept(connection, question, id_)) for id_, name in ids]
    return {id_: name for id_, name, is_kept in rows if not is_kept}


def _is_kept(connection: Connection, question: sql.Composed, id_: int) -> bool:
    of_row = sql.SQL("{} WHERE r.id = {}").format(question, sql.Literal(id_))
    try:
        with connection.transaction():
            row = connection.execute(of_row).fetchone()
    except (psycopg.DataError, psycopg.IntegrityError):
        return False
    return bool(row and row[2])


def long_texts(connection: Connection, scope: Scope) -> Item:
    """Legacy texts that are too long for the name of a lookup row, and that nobody decided on."""
    name = "texts too long for a lookup row"
    problems = [
        problem
        for x in scope.plan.lookups
        if (problem := _too_long(connection, x, scope.plan.name))
    ]
    if not problems:
        return Item(name, "pass", "Every legacy value fits the name of a lookup row.")
    return Item(
        name,
        "warns",
        "; ".join(problems) + ".",
        "They stay unmapped, and the audit of phase 2 fails for them: map each in the mapping "
        "review.",
    )


def _too_long(connection: Connection, lookup: Lookup, plan: str) -> str:
    """How many texts of a column, and the beginning of three; empty if there is none."""
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
                decided=fetch_bool(connection, facts.relation_exists(DECISIONS)),
            ),
        )
    ).fetchone()
    count, examples = row or (0, "")
    if not count:
        return ""
    label = f"{lookup.table.label}.{lookup.legacy}"
    texts = "1 text" if count == 1 else f"{count:,} texts"
    return f"{label} has {texts} of more than {lookup.longest} characters: {examples}"
