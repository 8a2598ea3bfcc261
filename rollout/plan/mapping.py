"""The SQL of a lookup's mapping: what every legacy text means, and who or what says so.

In this order: what a person decided, a synonym of the plan, the lookup row of the text's own normal
form. A decision is about a normal form, so texts that differ in case or white space alone can never
mean different rows. Decisions outlive the mapping: a backfill that is rolled back and run
again honours them.
"""

from collections.abc import Iterable

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.names import SCHEMA, code, identifier, in_target, normal, tidy
from rollout.plan.translations import Lookup


def mapping_table(lookup: Lookup, plan: str) -> Statement:
    """The table of a lookup's mapping: exact legacy text to lookup row, whatever its length.

    ``rows`` is how many rows had the text when the mapping was made.
    """
    name = lookup.mapping_name(plan)
    return Statement(
        sql=sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (\n"
            "  legacy text NOT NULL,\n"
            "  lookup_id {},\n"
            "  normal text GENERATED ALWAYS AS ({}) STORED,\n"
            "  why text NOT NULL,\n"
            "  at timestamptz NOT NULL DEFAULT now(),\n"
            # The text is too long for one; and a publication of all tables wants a primary key.
            # No sequence: a row made in the application's transaction would change its lastval().
            "  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),\n"
            "  rows bigint NOT NULL DEFAULT 0,\n"
            "  EXCLUDE USING hash (legacy WITH =)\n"
            ");\n"
            "CREATE INDEX IF NOT EXISTS {} ON {} (lookup_id)"
        ).format(
            in_target(name),
            code(lookup.key_type),
            normal(sql.Identifier("legacy")),
            sql.Identifier(identifier(name, "lookup_id")),
            in_target(name),
        ),
        done=facts.relation_exists(sql.Identifier(SCHEMA, name)),
    )


# What people decided: normal form to a lookup row's name, null for no value; of every lookup.
DECISIONS = in_target("decisions")


def decisions_of(lookup: Lookup, plan: str, decision: str) -> sql.Composed:
    """SQL condition: a row of ``DECISIONS``, under that alias, is about this lookup."""
    return sql.SQL(
        "{decision}.plan = {plan} AND {decision}.table_label = {table}"
        " AND {decision}.legacy_column = {legacy}"
    ).format(
        decision=sql.Identifier(decision),
        plan=sql.Literal(plan),
        table=sql.Literal(lookup.table.label),
        legacy=sql.Literal(lookup.legacy),
    )


def meaning(
    lookup: Lookup, plan: str, text: sql.Composable, *, decided: bool = True
) -> sql.Composed:
    """A query of one row: the ``name`` of the lookup row that a text means, and ``why``.

    The name is null where the text means none. ``why`` is decided, no_value or synonym; null where
    nothing but the text itself says it. Without ``decided`` there are no decisions to ask yet. The
    text may be of any alias but decision, synonym and said.
    """
    form = normal(text)
    sources: list[sql.Composable] = []
    if decided:
        sources.append(
            sql.SQL(
                "SELECT 1 AS rank, decision.name,"
                " CASE WHEN decision.name IS NULL THEN 'no_value' ELSE 'decided' END AS why"
                " FROM {decisions} AS decision WHERE {of_lookup}"
                # The index holds the digest: a text may be too long for it.
                " AND md5(decision.normal) = md5({form}) AND decision.normal = {form}"
            ).format(
                decisions=DECISIONS,
                of_lookup=decisions_of(lookup, plan, "decision"),
                form=form,
            )
        )
    if lookup.synonyms:
        pairs = sql.SQL(", ").join(
            sql.SQL("({}, {})").format(normal(sql.Literal(synonym)), tidy(sql.Literal(name)))
            for synonym, name in lookup.synonyms.items()
        )
        sources.append(
            sql.SQL(
                "SELECT 2 AS rank, synonym.name, 'synonym' AS why"
                " FROM (VALUES {pairs}) AS synonym (normal, name) WHERE synonym.normal = {form}"
            ).format(pairs=pairs, form=form)
        )
    sources.append(
        sql.SQL(
            "SELECT 3 AS rank, coalesce(nullif({tidy}, ''), {blank}::text) AS name, NULL AS why"
        ).format(tidy=tidy(text), blank=sql.Literal(lookup.blank))
    )
    return sql.SQL(
        "SELECT said.name, said.why FROM ({}) AS said ORDER BY said.rank LIMIT 1"
    ).format(sql.SQL(" UNION ALL ").join(sources))


def text_of_row(lookup: Lookup, plan: str, row: str) -> sql.Composed:
    """SQL of the legacy text that a lookup row is written as; ``row`` is an alias of its table.

    Of the texts that mean the row, the one that most rows had: constraints, indexes and readers of
    the legacy column know it. Where no row had any, the row's name, unless only other words came
    since.
    """
    return sql.SQL(
        "coalesce(CASE WHEN {row}.name IS DISTINCT FROM {blank} THEN coalesce((\n"
        "    SELECT CASE WHEN s.rows > 0 OR s.normal <> {normal_name} THEN s.legacy END\n"
        "    FROM {mapping} AS s WHERE s.lookup_id = {row}.id AND s.normal <> ''\n"
        "    ORDER BY s.rows DESC, s.normal = {normal_name} DESC, s.legacy = {row}.name DESC,\n"
        '      s.legacy COLLATE "C" LIMIT 1), {row}.name) END, {no_text})'
    ).format(
        row=sql.Identifier(row),
        blank=sql.Literal(lookup.blank),
        mapping=in_target(lookup.mapping_name(plan)),
        normal_name=normal(sql.Identifier(row, "name")),
        no_text=lookup.no_text,
    )


def why_mapped(text: sql.Composable, lookup: sql.Composable) -> sql.Composable:
    """SQL of why a text has its lookup row where nothing but the text itself says it.

    exact, trimmed (another white space) or case; blank; unmapped if there is no row.
    """
    return sql.SQL(
        "CASE WHEN {normal} = '' THEN 'blank' WHEN {lookup}.id IS NULL THEN 'unmapped'"
        " WHEN {lookup}.name = {text} THEN 'exact' WHEN {lookup}.name = {tidy} THEN 'trimmed'"
        " ELSE 'case' END"
    ).format(normal=normal(text), lookup=lookup, text=text, tidy=tidy(text))


def insert_fixed_rows(lookup: Lookup, ids: Iterable[int]) -> sql.Composed:
    """SQL of rows that the plan names, by their ids; those that are there stay as they are."""
    columns = ("id", "name", *lookup.columns)
    types = (lookup.key_type, lookup.name_column.type, *(c.type for c in lookup.columns.values()))
    rows = [
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal({"id": id_, **row}.get(column)), code(type_))
                for column, type_ in zip(columns, types, strict=True)
            )
        )
        for id_, row in ((id_, lookup.fixed_rows[id_]) for id_ in ids)
    ]
    return sql.SQL(
        "INSERT INTO {lookup} ({columns}) VALUES\n    {rows}\n  ON CONFLICT DO NOTHING RETURNING id"
    ).format(
        lookup=lookup.lookup_sql,
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        rows=sql.SQL(",\n    ").join(rows),
    )


def add_fixed_rows(lookup: Lookup) -> sql.Composed:
    """SQL of the rows that the plan names; the sequence continues after them."""
    return sql.SQL(
        "WITH made AS (\n"
        "  {insert})\n"
        "SELECT setval(s, greatest(max(made.id), pg_sequence_last_value(s)))\n"
        "  FROM made, pg_get_serial_sequence({name}, 'id') AS p, CAST(p AS regclass) AS s\n"
        "  GROUP BY s"
    ).format(
        insert=insert_fixed_rows(lookup, sorted(lookup.fixed_rows)),
        name=sql.Literal(lookup.lookup_sql.as_string()),
    )


def _legacy_values(lookup: Lookup, plan: str, *, decided: bool = True) -> sql.Composed:
    """A query of every distinct legacy text: how many rows have it, and what it means, and why."""
    return sql.SQL(
        "SELECT d.legacy, d.rows, says.name, says.why FROM (\n"
        "    SELECT coalesce({legacy}, '') AS legacy, count(*) AS rows FROM {table} GROUP BY 1\n"
        "    {blank}) AS d\n"
        "  CROSS JOIN LATERAL ({meaning}) AS says"
    ).format(
        legacy=lookup.text(sql.Identifier(lookup.legacy)),
        table=lookup.table.identifier,
        # Where the column is NOT NULL there may never be a blank; the first makes the row.
        blank=sql.SQL("UNION ALL SELECT '', 0" if lookup.of_legacy.null else ""),
        meaning=meaning(lookup, plan, sql.Identifier("d", "legacy"), decided=decided),
    )


def _names(lookup: Lookup) -> sql.Composed:
    """A query of the names that lookup rows are missing for, of the query ``legacy_values``."""
    name = sql.Identifier("v", "name")
    return sql.SQL(
        "SELECT DISTINCT ON ({normal}) {name} FROM legacy_values AS v\n"
        "  WHERE {normal} <> '' AND length({name}) <= {longest}\n"
        # A conflict uses up a number of the sequence.
        "    AND NOT EXISTS (SELECT FROM {lookup} AS l WHERE {normal_name} = {normal})\n"
        "  ORDER BY {normal}, v.why IS NULL, sum(v.rows) OVER (PARTITION BY {name}) DESC, {name}"
    ).format(
        lookup=lookup.lookup_sql,
        name=name,
        normal=normal(name),
        longest=sql.Literal(lookup.longest),
        normal_name=normal(sql.Identifier("l", "name")),
    )


def missing_names(lookup: Lookup, plan: str, *, decided: bool) -> sql.Composed:
    """A query of the names of the lookup rows that ``add_missing`` would make."""
    return sql.SQL("WITH legacy_values AS ({}) {}").format(
        _legacy_values(lookup, plan, decided=decided), _names(lookup)
    )


def add_missing(lookup: Lookup, plan: str) -> sql.Composed:
    """SQL that gives every distinct legacy text a mapping row and its lookup row.

    Blank has them in any case where the legacy column may be null.

    A lookup row is named as somebody decided or the plan says, else by the most frequent tidy
    spelling of its normal form.
    """
    return sql.SQL(
        "CREATE TEMPORARY TABLE legacy_values ON COMMIT DROP AS\n"
        "  {values};\n"
        "INSERT INTO {lookup} (name)\n"
        "  {names}\n"
        "  ON CONFLICT DO NOTHING;\n"
        "UPDATE {mapping} AS m SET rows = d.rows FROM legacy_values AS d\n"
        "  WHERE m.legacy = d.legacy AND m.rows < d.rows;\n"
        "INSERT INTO {mapping} (legacy, lookup_id, why, rows)\n"
        "  SELECT d.legacy, l.id, coalesce(d.why, {why}), d.rows FROM legacy_values AS d\n"
        "  LEFT JOIN {lookup} AS l ON {normal_name} = {wanted}\n"
        "  WHERE NOT EXISTS (SELECT FROM {mapping} AS m WHERE m.legacy = d.legacy)\n"
        "  ON CONFLICT DO NOTHING;\n"
        "ANALYZE {mapping}"
    ).format(
        values=_legacy_values(lookup, plan),
        lookup=lookup.lookup_sql,
        names=_names(lookup),
        mapping=in_target(lookup.mapping_name(plan)),
        normal_name=normal(sql.Identifier("l", "name")),
        wanted=normal(sql.Identifier("d", "name")),
        why=why_mapped(sql.Identifier("d", "legacy"), sql.SQL("l")),
    )
