"""The SQL function that says why a derived column's expression refuses a row.

The expression itself raises there, and would take the whole statement with it. The function answers
with the error; NULL where the row has a value. It is there for as long as the triggers are, and
audits ask it once they have met such a row.
"""

from psycopg import sql

from rollout.plan.names import code, identifier, in_target
from rollout.plan.resolvers import owned_function
from rollout.plan.session_settings import OF_EXPRESSIONS
from rollout.plan.table import Column
from rollout.plan.translations import Derived


def refusal_name(derived: Derived, plan: str) -> str:
    """The name of the function, in the schema ``rollout``."""
    return identifier(plan, derived.table.label, derived.column, "refusal")


def refusal(derived: Derived, plan: str, row: str) -> sql.Composed:
    """SQL of the reason why row ``row`` has no value; NULL where it has one."""
    return sql.SQL("{} ({})").format(
        in_target(refusal_name(derived, plan)),
        sql.SQL(", ").join(sql.Identifier(row, column) for column in derived.reads),
    )


def refusal_definition(derived: Derived, plan: str) -> sql.Composed:
    """SQL that creates the function, of the columns that the expression reads."""
    arguments = {c: sql.SQL(f"${n}") for n, c in enumerate(derived.reads, start=1)}
    lines = (
        "  value := {value};",
        "  RETURN NULL;",
        "EXCEPTION WHEN OTHERS THEN",
        "  RETURN SQLERRM;",
    )
    value = derived.value("new", instead=arguments)
    return owned_function(
        refusal_name(derived, plan),
        arguments=_types(derived),
        returns="text",
        schema=derived.table.schema,
        declare=f"value {derived.type};",
        body=[code(line).format(value=value) for line in lines],
        settings=OF_EXPRESSIONS,
    )


def drop_refusal(derived: Derived, plan: str) -> sql.Composed:
    return sql.SQL("DROP FUNCTION IF EXISTS {} ({})").format(
        in_target(refusal_name(derived, plan)), code(_types(derived))
    )


def _types(derived: Derived) -> str:
    columns = derived.table.columns
    return ", ".join(columns.get(column, Column("text")).type for column in derived.reads)
