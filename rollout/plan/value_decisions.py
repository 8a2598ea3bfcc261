"""What people decide about values that do not convert, as SQL for triggers, fills and audits.

A decision is about the values of the columns that a conversion reads, to the letter; it gives each
new column a value or leaves it empty. The expression comes first: a value that converts after all
needs no decision. Decisions outlive the triggers, as those about a mapping do.
"""

from collections.abc import Iterable, Mapping

from psycopg import sql

from rollout.plan.conversions import Conversion, cast
from rollout.plan.names import code, identifier, in_target
from rollout.plan.refusals import argument_types, refusal
from rollout.plan.resolvers import owned_function
from rollout.plan.session_settings import OF_EXPRESSIONS

# Values that a conversion read, as one text, to the new columns as a JSON object of texts and
# nulls; of every conversion.
VALUE_DECISIONS = in_target("value_decisions")


def decided_name(conversion: Conversion, plan: str) -> str:
    """The name of the function, in the schema ``rollout``."""
    return identifier(plan, conversion.table.label, *conversion.added, "decided")


def source_text(values: Iterable[sql.Composable]) -> sql.Composed:
    """SQL of the values that a conversion reads, as the text by which a decision knows them."""
    return sql.SQL("to_jsonb(ARRAY[{}])::text").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(value) for value in values)
    )


def source_of(conversion: Conversion, row: str) -> sql.Composed:
    """The same of row ``row``."""
    return source_text(sql.Identifier(row, column) for column in conversion.reads)


def decisions_about(conversion: Conversion, plan: str, alias: str) -> sql.Composed:
    """SQL condition: a row of ``VALUE_DECISIONS``, under that alias, is about this conversion."""
    return sql.SQL(
        "{alias}.plan = {plan} AND {alias}.table_label = {table} AND {alias}.columns = {columns}"
    ).format(
        alias=sql.Identifier(alias),
        plan=sql.Literal(plan),
        table=sql.Literal(conversion.table.label),
        columns=sql.Literal(", ".join(map(conversion.declared, conversion.added))),
    )


def decided(conversion: Conversion, plan: str, row: str) -> sql.Composed:
    """SQL of what people decided about row ``row``: its new values as JSON; NULL for nothing."""
    return sql.SQL("{} ({})").format(
        in_target(decided_name(conversion, plan)),
        sql.SQL(", ").join(sql.Identifier(row, column) for column in conversion.reads),
    )


def decided_value(conversion: Conversion, plan: str, row: str, column: str) -> sql.Composed:
    """SQL of what people decided that a new column of row ``row`` is to hold; NULL for nothing."""
    text = sql.SQL("({} ->> {})").format(
        decided(conversion, plan, row), sql.Literal(conversion.declared(column))
    )
    return cast(text, conversion.added[column].type)


def decided_definition(conversion: Conversion, plan: str) -> sql.Composed:
    """SQL that creates the function, of the columns that the expressions read."""
    return owned_function(
        decided_name(conversion, plan),
        arguments=argument_types(conversion),
        returns="jsonb",
        schema=conversion.table.schema,
        body=[
            sql.SQL(
                # The index holds the digest: a text may be too long for it.
                "  RETURN (SELECT d.decided FROM {} AS d WHERE {}"
                " AND md5(d.source) = md5({source}) AND d.source = {source});"
            ).format(
                VALUE_DECISIONS,
                decisions_about(conversion, plan, "d"),
                source=source_text(code(f"${n}") for n, _ in enumerate(conversion.reads, start=1)),
            )
        ],
        settings=OF_EXPRESSIONS,
    )


def drop_decided(conversion: Conversion, plan: str) -> sql.Composed:
    return sql.SQL("DROP FUNCTION IF EXISTS {} ({})").format(
        in_target(decided_name(conversion, plan)), code(argument_types(conversion))
    )


def careful_values(
    conversion: Conversion,
    plan: str,
    row: str,
    normal_forms: Mapping[str, sql.Composable] | None = None,
    *,
    raising: bool = False,
) -> dict[str, sql.Composed]:
    """By new column, its value in rows that may not convert: null, or what people decided.

    With ``raising`` a row that nobody has decided about raises the expression's error.
    """
    reason, values = refusal(conversion, plan, row), conversion.values(row, normal_forms)
    if not conversion.asks_people:
        return _guarded(values, reason)
    undecided = sql.SQL(" OR {} IS NULL").format(decided(conversion, plan, row))
    return {
        column: sql.SQL("(CASE WHEN {} IS NULL{} THEN {} ELSE {} END)").format(
            reason,
            undecided if raising else sql.SQL(""),
            value,
            decided_value(conversion, plan, row, column),
        )
        for column, value in values.items()
    }


def _guarded(values: Mapping[str, sql.Composed], reason: sql.Composable) -> dict[str, sql.Composed]:
    """The values of a row that converts: where there is a reason why it does not, null."""
    return {
        column: sql.SQL("(CASE WHEN {} IS NULL THEN {} END)").format(reason, value)
        for column, value in values.items()
    }


def means_otherwise(
    conversion: Conversion, plan: str, row: str, *, refused: str = "true"
) -> sql.Composed:
    """SQL condition: the new values of row ``row`` are not what its legacy columns say.

    ``refused`` is what holds where these say nothing, because an expression refuses the row.
    """

    def differ(values: Mapping[str, sql.Composable]) -> sql.Composable:
        differs = [
            sql.SQL("{} IS DISTINCT FROM {}").format(value, sql.Identifier(row, column))
            for column, value in values.items()
        ]
        joined = sql.SQL(" OR ").join(differs)
        return joined if len(differs) == 1 else sql.SQL("({})").format(joined)

    by_decision: sql.Composable = sql.SQL("")
    if conversion.asks_people:
        by_decision = sql.SQL("WHEN {} IS NOT NULL THEN {} ").format(
            decided(conversion, plan, row),
            differ({c: decided_value(conversion, plan, row, c) for c in conversion.added}),
        )
    return sql.SQL("(CASE WHEN {} IS NULL THEN {} {}ELSE {} END)").format(
        refusal(conversion, plan, row),
        differ(conversion.values(row)),
        by_decision,
        code(refused),
    )
