"""The SQL function that says which lookup row a text means: the only one that decides it.

The dual-write triggers call it, the application calls it (``rollout.lookups``, or SQL in any
language), and what it answers is in the mapping, which backfill, audit and repair read. It asks in
this order: the mapping, where the text is known; what people decided; the plan's synonyms; the
lookup row of the text's own normal form; and makes a row where the plan allows one.

It comes with the mapping and stays after phase 4: the application still takes text from people
then, and a decision about that text still stands.
"""

import hashlib
from collections.abc import Mapping, Sequence

from psycopg import sql

from rollout.plan import facts
from rollout.plan.actions import Statement
from rollout.plan.mapping import meaning, why_mapped
from rollout.plan.names import code, identifier, in_target, normal
from rollout.plan.session_settings import SPELLING, of_function
from rollout.plan.translations import Lookup

_VALUE = sql.SQL("value")
_ARGUMENTS = "value text, make boolean DEFAULT true, wait boolean DEFAULT true"
_SIGNATURE = "text, boolean, boolean"
# Beside it a call with defaults would be ambiguous: a rollout that runs over an update has it.
_EARLIER_SIGNATURE = "text, boolean"
# A transaction that brings many new texts holds no more locks than that for a lookup: they share
# the memory of all locks of the server.
_LOCKS = 512


def resolver_name(lookup: Lookup, plan: str) -> str:
    """The name of the function, in the schema ``rollout``."""
    return identifier(plan, lookup.table.label, lookup.legacy, "lookup_id")


def resolver(lookup: Lookup, plan: str) -> Statement:
    """Create the function, or bring it to what the plan says now."""
    return Statement(
        sql=resolver_definition(lookup, plan),
        done=facts.function_has_comment(
            resolver_name(lookup, plan), _comment(_function(lookup, plan))
        ),
    )


def drop_resolver(lookup: Lookup, plan: str) -> Statement:
    name = resolver_name(lookup, plan)
    return Statement(
        sql=sql.SQL("DROP FUNCTION IF EXISTS {} ({})").format(in_target(name), code(_SIGNATURE)),
        done=facts.no(facts.function_exists(name)),
    )


def name_the_rows(lookup: Lookup, plan: str, *, every: bool = False) -> Statement:
    """Have the resolver give the names of lookup rows their place in the mapping.

    Without ``every`` those are left out that are no longer in use, and those whose normal form
    leads to another row already: such a name does not mean its row.
    """
    own = sql.SQL(
        " AND l.active AND NOT EXISTS (\n"
        "    SELECT FROM {mapping} AS m\n"
        "    WHERE m.normal = {name} AND m.lookup_id IS DISTINCT FROM l.id)"
    ).format(mapping=in_target(lookup.mapping_name(plan)), name=normal(sql.Identifier("l", "name")))
    return Statement(
        sql=sql.SQL(
            "SELECT count({resolver} (l.name)) FROM {lookup} AS l\n"
            "  WHERE l.name IS DISTINCT FROM {blank}{own}"
        ).format(
            resolver=in_target(resolver_name(lookup, plan)),
            lookup=lookup.lookup_sql,
            blank=sql.Literal(lookup.blank),
            own=sql.SQL("") if every else own,
        ),
        done=None,
    )


def resolver_definition(lookup: Lookup, plan: str) -> sql.Composed:
    """SQL that creates the function; a digest of it is its comment."""
    function = _function(lookup, plan)
    name = in_target(resolver_name(lookup, plan))
    return sql.SQL(
        "DROP FUNCTION IF EXISTS {name} ({earlier});\n"
        "{function};\nCOMMENT ON FUNCTION {name} ({signature}) IS {comment}"
    ).format(
        name=name,
        earlier=code(_EARLIER_SIGNATURE),
        function=function,
        signature=code(_SIGNATURE),
        comment=sql.Literal(_comment(function)),
    )


def _comment(function: sql.Composed) -> str:
    return hashlib.sha256(function.as_string().encode()).hexdigest()[:16]


def _function(lookup: Lookup, plan: str) -> sql.Composed:
    """SQL of the function ``(value text, make boolean, wait boolean)`` that returns an id.

    It answers NULL where the text means no row. Without ``make`` it writes nothing: a text that
    nobody has written yet means the row of its name, or none.

    Two transactions that bring the same new text at once share one row: the second waits until the
    first ends, and finds its row. So that they never wait for each other, whatever the order of
    their texts, those that must wait take turns: one at a time makes rows of a plan. Without
    ``wait`` it waits for nobody, and answers NULL, while the new column may be null: what writes
    the row next, or a pass, fills it in.

    ``lastval()`` is afterwards what it was before.
    """
    fill = {
        "mapping": in_target(lookup.mapping_name(plan)),
        "lookup": lookup.lookup_sql,
        "meaning": meaning(lookup, plan, _VALUE),
        "normal_name": normal(sql.Identifier("l", "name")),
        "wanted": normal(sql.SQL("wanted")),
        "makes_row": _makes_row(lookup),
        "longest": sql.Literal(lookup.longest),
        "why": why_mapped(_VALUE, sql.SQL("l")),
        "needs_value": facts.column_needs_value(lookup.table, lookup.column),
        "turn": sql.SQL("hashtextextended({}, 0)").format(sql.Literal(f"{plan} makes rows")),
        "row_lock": _lock(lookup, plan, "row", normal(sql.SQL("wanted"))),
        "text_lock": _lock(lookup, plan, "text", _VALUE),
    }
    lines = (
        "  value := coalesce(value, '');",
        "  SELECT m.lookup_id INTO row_id FROM {mapping} AS m WHERE m.legacy = value;",
        "  known := FOUND;",
        # Once the table is the application's own, people delete rows that nobody uses.
        "  IF known AND (row_id IS NULL",
        "      OR EXISTS (SELECT FROM {lookup} AS l WHERE l.id = row_id)) THEN",
        "    RETURN row_id;",
        "  END IF;",
        # A running review commits first, and what it decided is read below. Who waits for the turn
        # holds no lock that the review, or who has the turn, waits for.
        "  IF make THEN",
        "    must_wait := wait OR {needs_value};",
        "    IF must_wait THEN PERFORM pg_advisory_xact_lock({turn}); END IF;",
        "    LOCK TABLE {mapping} IN ROW EXCLUSIVE MODE;",
        "  END IF;",
        "  SELECT says.name, says.why INTO wanted, reason FROM ({meaning}) AS says;",
        "  SELECT l.id INTO row_id FROM {lookup} AS l WHERE {normal_name} = {wanted};",
        "  IF NOT make THEN RETURN row_id; END IF;",
        "  BEGIN",
        "  IF row_id IS NULL AND wanted <> '' AND length(wanted) <= {longest} AND {makes_row} THEN",
        "    IF NOT pg_try_advisory_xact_lock({row_lock}) THEN",
        "      IF NOT must_wait THEN RETURN NULL; END IF;",
        "      PERFORM pg_advisory_xact_lock({row_lock});",
        "    END IF;",
        # The holder has committed its row since; an INSERT would use up a number all the same.
        "    SELECT l.id INTO row_id FROM {lookup} AS l WHERE {normal_name} = {wanted};",
        "    IF row_id IS NULL THEN",
        "      BEGIN last := lastval();",
        "      EXCEPTION WHEN object_not_in_prerequisite_state OR insufficient_privilege THEN",
        "        last := NULL;",
        "      END;",
        "      INSERT INTO {lookup} (name) VALUES (wanted) ON CONFLICT DO NOTHING;",
        # A session's last number is that of the sequence which it used last: here one of our own.
        "      IF last IS NOT NULL THEN",
        "        PERFORM nextval('rollout.lastval');",
        "        PERFORM setval('rollout.lastval', last);",
        "      END IF;",
        "      SELECT l.id INTO row_id FROM {lookup} AS l WHERE {normal_name} = {wanted};",
        "    END IF;",
        "  END IF;",
        "  IF NOT pg_try_advisory_xact_lock({text_lock}) THEN",
        "    IF NOT must_wait THEN RETURN row_id; END IF;",
        "    PERFORM pg_advisory_xact_lock({text_lock});",
        "  END IF;",
        "  IF known THEN DELETE FROM {mapping} AS m WHERE m.legacy = value; END IF;",
        "  INSERT INTO {mapping} (legacy, lookup_id, why)",
        "    SELECT value, row_id, coalesce(reason, {why})",
        "    FROM (SELECT) AS this LEFT JOIN {lookup} AS l ON l.id = row_id",
        "    ON CONFLICT DO NOTHING;",
        "  RETURN row_id;",
        # The snapshot of a transaction that reads repeatably is older than the other's commit. And
        # what the lookup table refuses fails no write, for as long as the column may be empty.
        "  EXCEPTION WHEN serialization_failure OR integrity_constraint_violation",
        "      OR data_exception OR raise_exception THEN",
        "    IF must_wait THEN RAISE; END IF;",
        "    RETURN NULL;",
        "  END;",
    )
    return owned_function(
        resolver_name(lookup, plan),
        arguments=_ARGUMENTS,
        returns=lookup.key_type,
        schema=lookup.table.schema,
        declare=(
            f"row_id {lookup.key_type}; wanted text; reason text; known boolean;"
            " must_wait boolean; last bigint;"
        ),
        body=[code(line).format(**fill) for line in lines],
    )


def _lock(lookup: Lookup, plan: str, what: str, text: sql.Composable) -> sql.Composed:
    """SQL of the advisory lock for making a lookup row, or a text's row of the mapping."""
    return sql.SQL("hashtextextended({} || (hashtext({}) & {}), 0)").format(
        sql.Literal(f"{lookup.mapping_name(plan)} {what} "), text, sql.Literal(_LOCKS - 1)
    )


def _makes_row(lookup: Lookup) -> sql.Composable:
    """SQL condition: a text that has no lookup row yet gets one."""
    if lookup.unknown == "create":
        return sql.SQL("true")
    return sql.SQL("(reason IS NOT NULL OR {} = '')").format(normal(_VALUE))


def owned_function(
    name: str,
    *,
    arguments: str,
    returns: str,
    schema: str,
    declare: str = "",
    body: Sequence[sql.Composable],
    settings: Mapping[str, str] = SPELLING,
) -> sql.Composed:
    """A function with its owner's rights: the application needs none on what it reads.

    ``settings`` are in force while it runs, whatever the session's are.
    """
    text = sql.SQL("{declare}BEGIN\n{body}\nEND").format(
        declare=sql.SQL("DECLARE {} ").format(code(declare)) if declare else sql.SQL(""),
        body=sql.SQL("\n").join(body),
    )
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {} ({}) RETURNS {} LANGUAGE plpgsql SECURITY DEFINER\n"
        "  SET search_path = {}{} AS {}"
    ).format(
        in_target(name),
        code(arguments),
        code(returns),
        search_path(schema),
        of_function(settings),
        sql.Literal(text.as_string()),
    )


def search_path(schema: str) -> sql.Composable:
    """Where functions of the engine look names up, over a table in that schema."""
    return sql.SQL(", ").join([sql.SQL("pg_catalog"), sql.Identifier(schema), sql.SQL("pg_temp")])
