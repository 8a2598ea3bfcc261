"""System checks of plans: an unsafe plan is refused before any of its phases can start."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from rollout.checks.conversions import conversion_problems, unreadable_expressions
from rollout.checks.csv_tasks import csv_problems
from rollout.checks.extractions import extraction_problems
from rollout.checks.gates import gate_problems, guardrail_problems
from rollout.checks.ids import CheckId
from rollout.checks.lookups import lookup_problems
from rollout.checks.problems import Problem, numbered_steps
from rollout.checks.removals import removal_problems
from rollout.checks.rollbacks import rollback_problems
from rollout.checks.vocabularies import vocabulary_problems
from rollout.plan import plans
from rollout.plan.constraints import AddUnique
from rollout.plan.csv_tasks import RunCsvTask
from rollout.plan.plan import Plan
from rollout.plan.sql_files import SqlFile, SqlFiles
from rollout.plan.table import Table
from rollout.plan.tasks import RunTask
from rollout.plan.translations import Computed, Translation


@register("rollout")
def check_plans(**_: Any) -> list[CheckMessage]:
    """Check every plan that the project's apps registered."""
    names = Counter(plan.name for plan in plans)
    errors: list[CheckMessage] = [
        Error(
            f"{count} plans are called '{name}'.",
            hint="Plan names must be unique: rename all but one.",
            id=CheckId.PLAN_NAME_TWICE,
        )
        for name, count in names.items()
        if count > 1
    ]
    for plan in plans:
        errors += check_plan(plan)
    return errors


def check_plan(plan: Plan) -> list[CheckMessage]:
    """Everything that is wrong with a plan, each with a hint."""
    # Whatever asks what a translation reads would stumble over an expression that is none.
    problems = tuple(unreadable_expressions(plan)) or (
        *_columns(plan),
        *_names(plan),
        *_phases(plan),
        *_constraints(plan),
        *_tables(plan),
        *_translations(plan),
        *rollback_problems(plan),
        *lookup_problems(plan),
        *conversion_problems(plan),
        *extraction_problems(plan),
        *vocabulary_problems(plan),
        *_functions(plan),
        *csv_problems(plan),
        *removal_problems(plan),
        *guardrail_problems(plan),
        *_sql_files(plan),
        *gate_problems(plan),
        *_traffic(plan),
    )
    return [Error(message, hint=hint, obj=plan.name, id=id) for id, message, hint in problems]


def _name(translation: Translation) -> str:
    return ", ".join(translation.added)


def _columns(plan: Plan) -> Iterator[Problem]:
    shape = plan.shape(0)
    for translation in plan.translations:
        table = translation.table
        for column in translation.reads:
            if column not in shape.get(table.label, {}):
                yield Problem(
                    CheckId.TRANSLATION_READS_NO_COLUMN,
                    f"The translation of {table.label}.{_name(translation)} reads '{column}', "
                    "which is not declared.",
                    f"Declare the column in the Table {table.label}, or correct its name.",
                )
    for number, step in numbered_steps(plan):
        of_step: Table | None = getattr(step, "table", None)
        if of_step not in plan.tables or number not in step.phases:
            continue
        known = {
            name
            for done in (number, number + 1)
            for name in plan.shape(done).get(of_step.label, {})
        }
        names = plan.names_after_cutover(of_step)
        named, _ = plan.as_met_by(step)
        if named.keeping_names_of(named.table_like(of_step)):
            known -= set(names.values()) - set(names)
        else:
            known -= set(names) - set(names.values())
        for column in step.needs:
            if column not in known:
                yield Problem(
                    CheckId.STEP_NEEDS_NO_COLUMN,
                    f"Step '{step.id}' uses {of_step.label}.{column}, which does not exist in "
                    f"phase {number}.",
                    f"Declare the column in the Table {of_step.label}, or correct its name.",
                )


def _names(plan: Plan) -> Iterator[Problem]:
    for number, phase in enumerate(plan.phases):
        for step_id, count in Counter(step.id for step in phase.steps).items():
            if count > 1:
                yield Problem(
                    CheckId.STEP_ID_TWICE,
                    f"Phase {number} has {count} steps called '{step_id}'.",
                    "Step ids must be unique in a phase: rename all but one.",
                )
    for (table, column), count in Counter(
        (t.table.label, column) for t in plan.translations for column in t.added
    ).items():
        if count > 1:
            yield Problem(
                CheckId.COLUMN_FILLED_TWICE,
                f"{count} translations target {table}.{column}.",
                "Keep one translation for each new column.",
            )


def _phases(plan: Plan) -> Iterator[Problem]:
    for number, step in numbered_steps(plan):
        if number not in step.phases:
            allowed = ", ".join(map(str, sorted(step.phases)))
            yield Problem(
                CheckId.UNSAFE_STEP,
                f"Step '{step.id}' ({type(step).__name__}) is not allowed in phase {number}.",
                f"Move it to phase {allowed}.",
            )


def _constraints(plan: Plan) -> Iterator[Problem]:
    for number, step in numbered_steps(plan):
        if isinstance(step, AddUnique) and step.table.partitioned:
            yield Problem(
                CheckId.UNIQUE_OF_PARTITIONS,
                f"Step '{step.id}' of phase {number} adds a UNIQUE constraint to "
                f"{step.table.label}, which is partitioned: PostgreSQL would build its index under "
                "a long lock.",
                "Use CreateIndex with unique=True, which is built partition by partition.",
            )


def _tables(plan: Plan) -> Iterator[Problem]:
    for table in plan.tables:
        if not table.key:
            yield Problem(
                CheckId.NO_PRIMARY_KEY,
                f"Table {table.label} has no primary key.",
                "Declare its key columns in Table(key=...).",
            )
    used: list[tuple[str, Table]] = [
        (f"The translation of {_name(t)}", t.table) for t in plan.translations
    ]
    used += [
        (f"Step '{step.id}'", of_step)
        for _number, step in numbered_steps(plan)
        if isinstance(of_step := getattr(step, "table", None), Table)
    ]
    for what, table in used:
        if table not in plan.tables:
            yield Problem(
                CheckId.TABLE_OF_NO_PLAN,
                f"{what} is of table {table.label}, which is not in Plan.tables.",
                f"Add {table.label} to Plan.tables.",
            )


def _translations(plan: Plan) -> Iterator[Problem]:
    for number, step in numbered_steps(plan):
        for translation in step.translations:
            if translation not in plan.translations:
                yield Problem(
                    CheckId.TRANSLATION_OF_NO_PLAN,
                    f"Step '{step.id}' of phase {number} names the translation of "
                    f"{translation.table.label}.{_name(translation)}, which is not in "
                    "Plan.translations.",
                    "Add it to Plan.translations.",
                )


def _functions(plan: Plan) -> Iterator[Problem]:
    used = [
        (t.function, f"that computes {t.table.label}.{_name(t)}")
        for t in plan.translations
        if isinstance(t, Computed)
    ] + [
        (function, f"of step '{step.id}'")
        for _, step in numbered_steps(plan)
        if isinstance(step, RunTask | RunCsvTask)
        for function in (step.function, getattr(step, "undo", ""))
        if function
    ]
    for function, what in used:
        try:
            import_string(function)
        except ImportError as error:
            yield Problem(
                CheckId.NO_FUNCTION,
                f"The function '{function}' {what} cannot be imported: {error}.",
                "Write its dotted path: 'app.module.function'.",
            )


def _sql_files(plan: Plan) -> Iterator[Problem]:
    used = {step.path: step for _, step in numbered_steps(plan) if isinstance(step, SqlFile)}
    for step in used.values():
        for problem in step.problems:
            yield Problem(CheckId.WRONG_SQL_FILE, f"{problem.where} {problem.what}.", problem.hint)
    for directory in dict.fromkeys(path.parent for path in used):
        for step in SqlFiles(directory).steps:
            if step.path not in used:
                yield Problem(
                    CheckId.UNUSED_SQL_FILE,
                    f"{step.path.name} is not used by any phase.",
                    f"Put SqlFiles(...).of_phase({step.phase}) into phase {step.phase}, or remove "
                    "the file.",
                )


def _traffic(plan: Plan) -> Iterator[Problem]:
    if not plan.traffic:
        return
    try:
        import_string(plan.traffic)
    except ImportError as error:
        yield Problem(
            CheckId.NO_TRAFFIC,
            f"The traffic of rehearsals '{plan.traffic}' cannot be imported: {error}.",
            "Write the dotted path of a function: 'app.module.traffic'.",
        )
