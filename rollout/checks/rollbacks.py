"""Refuses plans whose rollback would drop what they did not add, or could not restore data."""

from collections import Counter
from collections.abc import Iterator

from psycopg import sql

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem, numbered_steps
from rollout.plan.actions import Statement
from rollout.plan.archives import ArchiveLegacy
from rollout.plan.conversions import Conversion, Derived
from rollout.plan.cutovers import CutOver
from rollout.plan.defaults import SetDefault
from rollout.plan.plan import BACKFILL, Plan
from rollout.plan.removals import DropLegacy, FreezeLegacy
from rollout.plan.schema import AddColumns, RequireValues
from rollout.plan.transition import MapLegacyValues
from rollout.plan.translations import Lookup


def rollback_problems(plan: Plan) -> Iterator[Problem]:
    yield from _steps_without_rollback(plan)
    yield from _columns(plan)
    yield from _lookup_tables(plan)
    yield from _values(plan)
    yield from _legacy(plan)
    yield from _filled_defaults(plan)
    yield from _derived_values(plan)


def _columns(plan: Plan) -> Iterator[Problem]:
    declared = {(t.label, column) for t in plan.tables for column in t.columns}
    filled = [(t.table.label, column) for t in plan.translations for column in t.added]
    added = Counter(
        (step.table.label, column)
        for _, step in numbered_steps(plan)
        if isinstance(step, AddColumns)
        for column in step.added
    )
    for table, column in dict.fromkeys((*filled, *added)):
        if (table, column) in declared:
            yield Problem(
                CheckId.NEW_COLUMN_IS_DECLARED,
                f"{table}.{column} would be added, but is declared already: a rollback would drop "
                "it with its data.",
                f"Rename the new column, or remove it from the Table {table}.",
            )
    for (table, column), count in added.items():
        if count > 1:
            yield Problem(
                CheckId.COLUMN_ADDED_TWICE,
                f"{count} steps add {table}.{column}: one's rollback would drop the other's data.",
                "Add it in one step only.",
            )


def _lookup_tables(plan: Plan) -> Iterator[Problem]:
    declared = {table.label for table in plan.tables}
    before_phase_2 = "\n".join(
        action.text
        for number, step in numbered_steps(plan)
        if number < BACKFILL
        for action in plan.forward(step).actions
        if isinstance(action, Statement)
    )
    mapped = {
        step.table.label for _, step in numbered_steps(plan) if isinstance(step, MapLegacyValues)
    }
    for lookup in plan.lookups:
        label = lookup.lookup_label
        if label in declared:
            yield Problem(
                CheckId.LOOKUP_TABLE_IS_DECLARED,
                f"The lookup table {label} of {lookup.table.label}.{lookup.column} is one of the "
                "plan's tables: a rollback would delete its rows and drop it.",
                "Choose the name of a new lookup table.",
            )
        elif lookup.table.label in mapped and not _names(before_phase_2, lookup.lookup_table):
            yield Problem(
                CheckId.LOOKUP_TABLE_NOT_MADE,
                f"No step creates the lookup table {label} of {lookup.table.label}."
                f"{lookup.column}, and the rollback of phase 2 deletes all its rows.",
                "Create it with CreateLookupTable in phase 1.",
            )


def _names(text: str, table: str) -> bool:
    """Whether SQL names a table: a step of the project's own may make it."""
    return table in text or sql.Identifier(table).as_string() in text


def _values(plan: Plan) -> Iterator[Problem]:
    for number, step in numbered_steps(plan):
        if not isinstance(step, RequireValues):
            continue
        columns = plan.shape(number).get(step.table.label, {})
        for name in step.columns:
            if name in columns and not columns[name].null:
                yield Problem(
                    CheckId.REQUIRED_ALREADY,
                    f"Step '{step.id}' of phase {number} requires {step.table.label}.{name}, which "
                    "is NOT NULL already: a rollback would allow nulls that were not allowed.",
                    "Remove the column from the step.",
                )


def _legacy(plan: Plan) -> Iterator[Problem]:
    archived: set[str] = set()
    for number, step in numbered_steps(plan):
        if not isinstance(step, FreezeLegacy | ArchiveLegacy | DropLegacy):
            continue
        kind = type(step).__name__
        if not plan.legacy_of(step.table):
            yield Problem(
                CheckId.NO_LEGACY_TEXT,
                f"Step '{step.id}' of phase {number} is {kind}, but {step.table.label} has no "
                "translation whose legacy columns go: no Lookup, no Convert.",
                "Use StopDualWrite, and drop the old columns in a migration once nothing reads "
                "them.",
            )
        elif isinstance(step, ArchiveLegacy):
            archived.add(step.table.label)
        elif isinstance(step, DropLegacy) and step.table.label not in archived:
            yield Problem(
                CheckId.DROPPED_WITHOUT_ARCHIVE,
                f"Step '{step.id}' of phase {number} drops the legacy columns of "
                f"{step.table.label}, which no earlier step archives: a rollback could not restore "
                "them.",
                "Put ArchiveLegacy before it.",
            )


def _steps_without_rollback(plan: Plan) -> Iterator[Problem]:
    for number, step in numbered_steps(plan):
        guarded, backward = step.destructive or step.restrictive, step.backward(plan)
        if backward is None or (guarded and not backward):
            yield Problem(
                CheckId.NO_ROLLBACK,
                f"Step '{step.id}' of phase {number} defines no rollback.",
                "Define its rollback actions; every step must be reversible.",
            )


def _filled_defaults(plan: Plan) -> Iterator[Problem]:
    for number, step in numbered_steps(plan):
        if isinstance(step, SetDefault) and step.fill and not step.is_added_by(plan):
            yield Problem(
                CheckId.FILLED_FOR_GOOD,
                f"Step '{step.id}' of phase {number} fills {step.table.label}.{step.column}, which "
                "no AddColumns adds by columns=: a rollback could not tell which rows were empty.",
                "Write fill=False, or correct the column.",
            )


def _derived_values(plan: Plan) -> Iterator[Problem]:
    """Derived columns whose values, written after the cutover, no legacy column would keep."""
    leads: Counter[tuple[str, str]] = Counter()
    for t in plan.translations:
        legacy = (
            t.ways_back if isinstance(t, Conversion) else t.reads if isinstance(t, Lookup) else ()
        )
        leads.update((t.table.label, column) for column in legacy)
    turned = {step.table for _, step in numbered_steps(plan) if isinstance(step, CutOver)}
    for t in plan.translations:
        if not isinstance(t, Derived):
            continue
        name = f"{t.table.label}.{t.column}"
        if not t.back and t.writable is None and t.table in turned:
            yield Problem(
                CheckId.NO_WAY_BACK,
                f"After the cutover {name} can be written alone, and no legacy column follows: a "
                "rollback would lose such values.",
                "Write back={'legacy': 'expression over {new}'}; or writable=False, with which "
                "triggers refuse such writes; or writable=True if the application writes the "
                "value of the expression.",
            )
        known = {*t.table.columns, t.column}
        problems = [
            *(f"the expression does not read '{c}'" for c in t.back if c not in t.reads),
            *(f"it names '{c}', which does not exist" for c in t.read_by_back if c not in known),
            *(
                f"another translation writes '{c}' too"
                for c in t.back
                if leads[t.table.label, c] > 1
            ),
        ]
        if t.back and t.column not in t.read_by_back:
            problems.append(f"it does not name '{t.column}'")
        for problem in problems:
            yield Problem(
                CheckId.WRONG_WAY_BACK,
                f"back= of {name} is invalid: {problem}.",
                "Write back={'legacy': 'expression over {new}'}, for columns that the expression "
                "reads and nothing else writes.",
            )
