"""Refuses plans whose rollback would take away what they did not bring, or could bring nothing
back."""

from collections import Counter
from collections.abc import Callable, Iterator

from django.core.checks import Error
from psycopg import sql

from rollout.checks.ids import CheckId
from rollout.plan.actions import Statement
from rollout.plan.plan import Plan
from rollout.plan.removal import ArchiveLegacy, DropLegacy, FreezeLegacy
from rollout.plan.schema import AddColumns, RequireValues
from rollout.plan.step import BACKFILL, Step
from rollout.plan.transition import MapLegacyValues

MakeError = Callable[[CheckId, str, str, Plan], Error]


def check_rollbacks(plan: Plan, error: MakeError) -> Iterator[Error]:
    """Errors, each with a hint."""
    yield from _columns(plan, error)
    yield from _lookup_tables(plan, error)
    yield from _values(plan, error)
    yield from _legacy(plan, error)


def _steps(plan: Plan) -> Iterator[tuple[int, Step]]:
    for number, phase in enumerate(plan.phases):
        for step in phase.steps:
            yield number, step


def _columns(plan: Plan, error: MakeError) -> Iterator[Error]:
    declared = {(t.label, column) for t in plan.tables for column in t.columns}
    filled = [(t.table.label, column) for t in plan.translations for column in t.added]
    added = Counter(
        (step.table.label, column)
        for _, step in _steps(plan)
        if isinstance(step, AddColumns)
        for column in step.added
    )
    for table, column in dict.fromkeys((*filled, *added)):
        if (table, column) in declared:
            yield error(
                CheckId.NEW_COLUMN_IS_DECLARED,
                f"{table}.{column} is to be added, and the plan's table has it already: a rollback "
                "would drop it with all it holds.",
                f"Give the new column another name, or take it out of the Table {table}.",
                plan,
            )
    for (table, column), count in added.items():
        if count > 1:
            yield error(
                CheckId.COLUMN_ADDED_TWICE,
                f"{count} steps add {table}.{column}: the rollback of one would drop the other's.",
                "Let one step add it.",
                plan,
            )


def _lookup_tables(plan: Plan, error: MakeError) -> Iterator[Error]:
    declared = {table.label for table in plan.tables}
    before_phase_2 = "\n".join(
        action.text
        for number, step in _steps(plan)
        if number < BACKFILL
        for action in plan.forward(step).actions
        if isinstance(action, Statement)
    )
    mapped = {step.table.label for _, step in _steps(plan) if isinstance(step, MapLegacyValues)}
    for lookup in plan.lookups:
        label = lookup.lookup_label
        if label in declared:
            yield error(
                CheckId.LOOKUP_TABLE_IS_DECLARED,
                f"The lookup table {label} of {lookup.table.label}.{lookup.column} is one of the "
                "plan's tables: a rollback would delete its rows and drop it.",
                "Name a lookup table that is not there yet.",
                plan,
            )
        elif lookup.table.label in mapped and not _names(before_phase_2, lookup.lookup_table):
            yield error(
                CheckId.LOOKUP_TABLE_NOT_MADE,
                f"No step makes the lookup table {label} of {lookup.table.label}.{lookup.column}, "
                "and the rollback of phase 2 deletes all its rows.",
                "Make it with CreateLookupTable in phase 1.",
                plan,
            )


def _names(text: str, table: str) -> bool:
    """Whether SQL names a table: a step of the project's own may make it."""
    return table in text or sql.Identifier(table).as_string() in text


def _values(plan: Plan, error: MakeError) -> Iterator[Error]:
    for number, step in _steps(plan):
        if not isinstance(step, RequireValues):
            continue
        columns = plan.shape(number).get(step.table.label, {})
        for name in step.columns:
            if name in columns and not columns[name].null:
                yield error(
                    CheckId.REQUIRED_ALREADY,
                    f"Step '{step.id}' of phase {number} requires {step.table.label}.{name}, which "
                    "is NOT NULL already: a rollback would allow nulls that were not allowed.",
                    "Take the column out of the step.",
                    plan,
                )


def _legacy(plan: Plan, error: MakeError) -> Iterator[Error]:
    archived: set[str] = set()
    for number, step in _steps(plan):
        if not isinstance(step, FreezeLegacy | ArchiveLegacy | DropLegacy):
            continue
        kind = type(step).__name__
        if not plan.lookups_of(step.table):
            yield error(
                CheckId.NO_LEGACY_TEXT,
                f"Step '{step.id}' of phase {number} is {kind}, and {step.table.label} has no "
                "lookup whose legacy text it could be about.",
                "Use StopDualWrite: a migration of yours drops the old columns when nobody reads "
                "them.",
                plan,
            )
        elif isinstance(step, ArchiveLegacy):
            archived.add(step.table.label)
        elif isinstance(step, DropLegacy) and step.table.label not in archived:
            yield error(
                CheckId.DROPPED_WITHOUT_ARCHIVE,
                f"Step '{step.id}' of phase {number} drops the legacy columns of "
                f"{step.table.label}, and no step before it archives their texts: a rollback could "
                "not bring them back.",
                "Put ArchiveLegacy before it.",
                plan,
            )
