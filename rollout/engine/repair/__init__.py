"""Puts right what an audit found wrong: which rows, which passes, and what these would write.

A repair is one or more passes of the backfill, confined to the cells that are selected and whose
right value is known. Forward the legacy text is right and the new column follows the mapping;
after the cutover, in reverse, the new value is right and the text follows the lookup row.
"""

from psycopg import sql

from rollout.engine.repair.cells import OF_CONVERSIONS
from rollout.engine.repair.counts import Counted, Example, count, examples
from rollout.engine.repair.passes import RepairDirection, RepairPlan, RepairRows, step_of
from rollout.engine.repair.selection import NothingSelected, Selection
from rollout.engine.target import Connection, fetch_bool
from rollout.plan import facts
from rollout.plan.names import SCHEMA
from rollout.plan.plan import Plan
from rollout.plan.refusals import refusal_name
from rollout.plan.table import Table

__all__ = [
    "OF_CONVERSIONS",
    "Counted",
    "Example",
    "NothingSelected",
    "RepairDirection",
    "RepairPlan",
    "RepairRows",
    "Selection",
    "count",
    "examples",
    "refusal_to_repair",
    "step_of",
]


def refusal_to_repair(connection: Connection, plan: Plan, table: Table) -> str:
    """Why no row of a table can be repaired as its schema is now; empty where they can."""
    for translation in (*plan.translations_of(table), *plan.computed_of(table)):
        for column in translation.added:
            if not fetch_bool(connection, facts.column_exists(table, column)):
                return f"{table.label} has no column {column} yet. Run phases 1 and 2 first."
    for column in plan.legacy_of(table):
        if not fetch_bool(connection, facts.column_exists(table, column)):
            return f"{table.label}.{column} is dropped. Roll back phase 4 to repair rows."
    for lookup in plan.lookups_of(table):
        mapping = sql.Identifier(SCHEMA, lookup.mapping_name(plan.name))
        if not fetch_bool(connection, facts.relation_exists(mapping)):
            return f"{table.label}.{lookup.legacy} is not mapped yet. Run phase 2 first."
    for conversion in plan.conversions_of(table):
        if not fetch_bool(connection, facts.function_exists(refusal_name(conversion, plan.name))):
            return f"{table.label} has no triggers of the plan. Run phase 2 first."
    return ""
