"""The SQL function that says why a conversion refuses a row.

The expression itself raises there, and would take the whole statement with it. The function answers
with the error; NULL where the row has a value. It is there for as long as the triggers are, and
audits ask it once they have met such a row.
"""

from psycopg import sql

from rollout.plan.conversions import Conversion
from rollout.plan.names import code, identifier, in_target
from rollout.plan.resolvers import owned_function
from rollout.plan.session_settings import OF_EXPRESSIONS
from rollout.plan.table import Column


def refusal_name(conversion: Conversion, plan: str) -> str:
    """The name of the function, in the schema ``rollout``."""
    return identifier(plan, conversion.table.label, *conversion.added, "refusal")


def refusal(conversion: Conversion, plan: str, row: str) -> sql.Composed:
    """SQL of the reason why row ``row`` has no value; NULL where it has one."""
    return sql.SQL("{} ({})").format(
        in_target(refusal_name(conversion, plan)),
        sql.SQL(", ").join(sql.Identifier(row, column) for column in conversion.reads),
    )


def refusal_definition(conversion: Conversion, plan: str) -> sql.Composed:
    """SQL that creates the function, of the columns that the expressions read."""
    arguments = {c: sql.SQL(f"${n}") for n, c in enumerate(conversion.reads, start=1)}
    values = conversion.values("new", instead=arguments)
    variables = {c: "value" if n == 1 else f"value_{n}" for n, c in enumerate(values, start=1)}
    return owned_function(
        refusal_name(conversion, plan),
        arguments=argument_types(conversion),
        returns="text",
        schema=conversion.table.schema,
        declare=" ".join(f"{name} {conversion.added[c].type};" for c, name in variables.items()),
        body=[
            *(
                sql.SQL("  {} := {};").format(code(name), values[c])
                for c, name in variables.items()
            ),
            sql.SQL("  RETURN NULL;"),
            sql.SQL("EXCEPTION WHEN OTHERS THEN"),
            sql.SQL("  RETURN SQLERRM;"),
        ],
        settings=OF_EXPRESSIONS,
    )


def drop_refusal(conversion: Conversion, plan: str) -> sql.Composed:
    return sql.SQL("DROP FUNCTION IF EXISTS {} ({})").format(
        in_target(refusal_name(conversion, plan)), code(argument_types(conversion))
    )


def argument_types(conversion: Conversion) -> str:
    """The types of the columns that the expressions read, as a function's arguments."""
    columns = conversion.table.columns
    return ", ".join(columns.get(column, Column("text")).type for column in conversion.reads)
