"""System checks: a plan that could hurt is refused before anything of it can be started."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from rollout.checks import removals
from rollout.checks.ids import CheckId
from rollout.checks.lookup_rows import check_lookup_rows
from rollout.checks.rollbacks import check_rollbacks
from rollout.plan import plans
from rollout.plan.gates import ChecklistComplete, MaintenanceWindow
from rollout.plan.plan import Plan
from rollout.plan.rules import COUNTED, Rule
from rollout.plan.sql_files import SqlFile, SqlFiles
from rollout.plan.step import Step
from rollout.plan.table import Table
from rollout.plan.transition import CutOver
from rollout.plan.translations import Computed, Derived, Lookup, Translation
from rollout.telemetry.recorder import INTERVAL_SECONDS

# PostgreSQL's own types. Types of the database itself may be enums and domains of texts: the
# preflight looks.
_NO_TEXT = re.compile(
    r".*\[\]|(smallint|integer|bigint|numeric|real|double precision|money|boolean|date|time"
    r"|timestamp|interval|uuid|jsonb?|xml|bytea|bit|inet|cidr|macaddr8?|oid|name|\"char\"|character"
    r"|(?:int[48]|num|ts|tstz|date)(?:multi)?range|point|line|lseg|box|path|polygon|circle"
    r"|tsvector|tsquery)(\b(?! varying).*)?"
)

LONGEST_LOOK = timedelta(minutes=4)
"""A rule may look back so far."""


@register("rollout")
def check_plans(**_: Any) -> list[CheckMessage]:
    """Check every plan that the project's apps registered."""
    names = Counter(plan.name for plan in plans)
    errors: list[CheckMessage] = [
        _error(
            CheckId.PLAN_NAME_TWICE,
            f"Two plans are called '{name}'.",
            "Give each plan a name of its own.",
        )
        for name, count in names.items()
        if count > 1
    ]
    for plan in plans:
        errors += check_plan(plan)
    return errors


def check_plan(plan: Plan) -> list[CheckMessage]:
    """Everything that is wrong with a plan, each with a hint."""
    return [
        *_steps_without_way_back(plan),
        *_columns(plan),
        *_names(plan),
        *_phases(plan),
        *_tables(plan),
        *_translations(plan),
        *check_rollbacks(plan, _error),
        *_lookups(plan),
        *_ways_back(plan),
        *_functions(plan),
        *(_error(*problem, plan) for problem in removals.problems(plan)),
        *_rules(plan),
        *_sql_files(plan),
        *_gates(plan),
        *_traffic(plan),
    ]


def _error(id: CheckId, message: str, hint: str, plan: Plan | None = None) -> Error:
    return Error(message, hint=hint, obj=plan and plan.name, id=id)


def _name(translation: Translation) -> str:
    return ", ".join(translation.added)


def _steps(plan: Plan) -> Iterator[tuple[int, Step]]:
    for number, phase in enumerate(plan.phases):
        for step in phase.steps:
            yield number, step


def _steps_without_way_back(plan: Plan) -> Iterator[Error]:
    for number, step in _steps(plan):
        guarded, backward = step.destructive or step.restrictive, step.backward(plan)
        if backward is None or (guarded and not backward):
            yield _error(
                CheckId.NO_ROLLBACK,
                f"Step '{step.id}' of phase {number} has no rollback.",
                "Give it the actions that undo it; a step that cannot be undone has no place in a "
                "rollout.",
                plan,
            )


def _columns(plan: Plan) -> Iterator[Error]:
    shape = plan.shape(0)
    for translation in plan.translations:
        table = translation.table
        for column in translation.reads:
            if column not in shape.get(table.label, {}):
                yield _error(
                    CheckId.TRANSLATION_READS_NO_COLUMN,
                    f"The translation of {table.label}.{_name(translation)} reads '{column}', "
                    "which the plan's table does not have.",
                    f"Declare the column in the Table {table.label}, or correct its name.",
                    plan,
                )
    for number, step in _steps(plan):
        of_step: Table | None = getattr(step, "table", None)
        if of_step not in plan.tables or number not in step.phases:
            continue
        known = {
            name
            for done in (number, number + 1)
            for name in plan.shape(done).get(of_step.label, {})
        }
        for column in step.needs:
            if column not in known:
                yield _error(
                    CheckId.STEP_NEEDS_NO_COLUMN,
                    f"Step '{step.id}' of phase {number} needs {of_step.label}.{column}, which is "
                    "not there in that phase.",
                    f"Declare the column in the Table {of_step.label}, or correct its name.",
                    plan,
                )


def _names(plan: Plan) -> Iterator[Error]:
    for number, phase in enumerate(plan.phases):
        for step_id, count in Counter(step.id for step in phase.steps).items():
            if count > 1:
                yield _error(
                    CheckId.STEP_ID_TWICE,
                    f"Phase {number} has {count} steps called '{step_id}'.",
                    "Give each step of a phase an id of its own.",
                    plan,
                )
    for (table, column), count in Counter(
        (t.table.label, column) for t in plan.translations for column in t.added
    ).items():
        if count > 1:
            yield _error(
                CheckId.COLUMN_FILLED_TWICE,
                f"{count} translations fill {table}.{column}.",
                "A new column has one translation.",
                plan,
            )


def _phases(plan: Plan) -> Iterator[Error]:
    for number, step in _steps(plan):
        if number not in step.phases:
            allowed = ", ".join(map(str, sorted(step.phases)))
            yield _error(
                CheckId.UNSAFE_STEP,
                f"Step '{step.id}' ({type(step).__name__}) is not safe in phase {number}.",
                f"Move it to phase {allowed}.",
                plan,
            )


def _tables(plan: Plan) -> Iterator[Error]:
    for table in plan.tables:
        if not table.key:
            yield _error(
                CheckId.NO_PRIMARY_KEY,
                f"Table {table.label} has no primary key.",
                "Name its key columns; without a key no row can be told from another.",
                plan,
            )
    used: list[tuple[str, Table]] = [
        (f"The translation of {_name(t)}", t.table) for t in plan.translations
    ]
    used += [
        (f"Step '{step.id}'", found)
        for _number, step in _steps(plan)
        if isinstance(found := getattr(step, "table", None), Table)
    ]
    for what, table in used:
        if table not in plan.tables:
            yield _error(
                CheckId.TABLE_OF_NO_PLAN,
                f"{what} is of table {table.label}, which is not among the plan's tables.",
                f"Add {table.label} to the plan's tables.",
                plan,
            )


def _translations(plan: Plan) -> Iterator[Error]:
    for number, step in _steps(plan):
        for translation in step.translations:
            if translation not in plan.translations:
                yield _error(
                    CheckId.TRANSLATION_OF_NO_PLAN,
                    f"Step '{step.id}' of phase {number} names the translation of "
                    f"{translation.table.label}.{_name(translation)}, which the plan lacks.",
                    "Add it to the plan's translations.",
                    plan,
                )


def _ways_back(plan: Plan) -> Iterator[Error]:
    """A value that is written to a derived column after the cutover: what becomes of it is said."""
    leads: Counter[tuple[str, str]] = Counter()
    for t in plan.translations:
        legacy = t.back if isinstance(t, Derived) else t.reads if isinstance(t, Lookup) else ()
        leads.update((t.table.label, column) for column in legacy)
    turned = {step.table for _, step in _steps(plan) if isinstance(step, CutOver)}
    for t in plan.translations:
        if not isinstance(t, Derived):
            continue
        name = f"{t.table.label}.{t.column}"
        if not t.back and t.writable is None and t.table in turned:
            yield _error(
                CheckId.NO_WAY_BACK,
                f"After the cutover a value may be written to {name} alone, and nothing says how "
                "the legacy columns follow it: a rollback would lose it.",
                "Write back={'legacy': 'expression over {new}'}; or writable=False, and triggers "
                "refuse such a write; or writable=True where the application writes what the "
                "expression says.",
                plan,
            )
        known = {*t.table.columns, t.column}
        problems = [
            *(f"'{c}' is no column that the expression reads" for c in t.back if c not in t.reads),
            *(f"it names '{c}', which is not there" for c in t.read_by_back if c not in known),
            *(
                f"another translation leads '{c}' back"
                for c in t.back
                if leads[t.table.label, c] > 1
            ),
        ]
        if t.back and t.column not in t.read_by_back:
            problems.append(f"it does not name '{t.column}'")
        for problem in problems:
            yield _error(
                CheckId.WRONG_WAY_BACK,
                f"The way back of {name} cannot be gone: {problem}.",
                "Write back={'legacy': 'expression over {new}'}, for columns that the expression "
                "reads and that nothing else writes.",
                plan,
            )


def _lookups(plan: Plan) -> Iterator[Error]:
    for lookup in plan.translations:
        if not isinstance(lookup, Lookup):
            continue
        name = f"{lookup.table.label}.{lookup.column}"
        if lookup.blank is None and lookup.required and lookup.of_legacy.null:
            yield _error(
                CheckId.NO_ROW_FOR_BLANKS,
                f"The lookup of {name} requires a value but has none for blank texts.",
                "Name a row for blanks with blank='...', or set required=False.",
                plan,
            )
        if _NO_TEXT.fullmatch(lookup.of_legacy.type):
            yield _error(
                CheckId.LEGACY_TYPE,
                f"The legacy column {lookup.table.label}.{lookup.legacy} is "
                f"{lookup.of_legacy.type}; a lookup is made of text, character varying, citext, "
                "an enum or a domain of these.",
                "Make it text in a migration before the rollout, or derive the new column from it "
                "with Derived.",
                plan,
            )
        elif lookup.blank is not None and len(lookup.blank) > lookup.longest:
            yield _error(
                CheckId.ROW_FOR_BLANKS_TOO_LONG,
                f"'{lookup.blank}', the row for blank texts of {name}, is longer than "
                f"{lookup.table.label}.{lookup.legacy} can take: {lookup.longest} characters.",
                "Give it a shorter name with blank='...'.",
                plan,
            )
        if lookup.unknown == "null" and lookup.required:
            yield _error(
                CheckId.UNKNOWN_WITHOUT_VALUE,
                f"The lookup of {name} requires a value but leaves unknown texts without one.",
                "Set unknown='create', or required=False.",
                plan,
            )
        yield from _synonyms(plan, lookup, name)
        yield from check_lookup_rows(plan, lookup, _error)


def _synonyms(plan: Plan, lookup: Lookup, name: str) -> Iterator[Error]:
    def form(text: str) -> str:
        return " ".join(text.split()).lower()

    forms = Counter(form(synonym) for synonym in lookup.synonyms)
    for synonym, meant in lookup.synonyms.items():
        problem = ""
        if not form(synonym) or not form(meant) or len(meant) > lookup.longest:
            problem = f"neither may be blank, nor a name over {lookup.longest} characters"
        elif forms[form(synonym)] > 1:
            problem = "another synonym differs from it in case or white space alone"
        elif form(meant) in forms and form(lookup.synonyms.get(meant, meant)) != form(meant):
            problem = f"'{meant}' is itself a synonym, of '{lookup.synonyms[meant]}'"
        if problem:
            yield _error(
                CheckId.WRONG_SYNONYM,
                f"The lookup of {name} cannot have '{synonym}' for '{meant}': {problem}.",
                "Lead every synonym straight to the name of its lookup row.",
                plan,
            )


def _functions(plan: Plan) -> Iterator[Error]:
    for computed in plan.translations:
        if not isinstance(computed, Computed):
            continue
        try:
            import_string(computed.function)
        except ImportError as error:
            yield _error(
                CheckId.NO_FUNCTION,
                f"The function '{computed.function}' that computes "
                f"{computed.table.label}.{_name(computed)} cannot be imported: {error}.",
                "Name it by its dotted path: 'app.module.function'.",
                plan,
            )


def _sql_files(plan: Plan) -> Iterator[Error]:
    used = {step.path: step for _, step in _steps(plan) if isinstance(step, SqlFile)}
    for step in used.values():
        for problem in step.problems:
            yield _error(
                CheckId.WRONG_SQL_FILE, f"{problem.where} {problem.what}.", problem.hint, plan
            )
    for directory in dict.fromkeys(path.parent for path in used):
        for step in SqlFiles(directory).steps:
            if step.path not in used:
                yield _error(
                    CheckId.UNUSED_SQL_FILE,
                    f"{step.path.name} is there, and no phase carries it out.",
                    f"Put SqlFiles(...).of_phase({step.phase}) into phase {step.phase}, or take "
                    "the file away.",
                    plan,
                )


def _traffic(plan: Plan) -> Iterator[Error]:
    if not plan.traffic:
        return
    try:
        import_string(plan.traffic)
    except ImportError as error:
        yield _error(
            CheckId.NO_TRAFFIC,
            f"The traffic of rehearsals '{plan.traffic}' cannot be imported: {error}.",
            "Name a function by its dotted path: 'app.module.traffic'.",
            plan,
        )


def _rules(plan: Plan) -> Iterator[Error]:
    for rule_id, count in Counter(rule.id for rule in plan.judged_rules).items():
        if count > 1:
            yield _error(
                CheckId.RULE_ID_TWICE,
                f"{count} rules are called '{rule_id}'.",
                "Give each rule an id of its own.",
                plan,
            )
    for rule in plan.rules:
        reason = _wrong_with(rule)
        if reason:
            yield _error(CheckId.WRONG_RULE, f"Rule '{rule.id}' {reason[0]}", reason[1], plan)


def _wrong_with(rule: Rule) -> tuple[str, str] | None:
    if rule.at_most is None and not rule.is_relative:
        return "has no bound.", "Give it at_most, or times and above the baseline."
    if rule.statistic in COUNTED and (rule.at_most is None or rule.is_relative):
        return "counts, and is compared with a baseline.", "Give it at_most alone."
    if not 1 <= rule.broken_windows <= rule.windows:
        return (
            f"wants {rule.broken_windows} of {rule.windows} windows.",
            "Let 1 to all of its windows break it.",
        )
    if rule.seconds < 1 or rule.seconds % INTERVAL_SECONDS:
        return (
            f"has windows of {rule.seconds} s; measurements come every {INTERVAL_SECONDS} s.",
            f"Make a window {INTERVAL_SECONDS} s long or a multiple of that.",
        )
    if rule.seconds * rule.windows > LONGEST_LOOK.total_seconds():
        return (
            f"looks back {rule.seconds * rule.windows} s.",
            f"Look back at most {LONGEST_LOOK.total_seconds():.0f} s: older measurements are put "
            "together.",
        )
    return None


def _gates(plan: Plan) -> Iterator[Error]:
    for number, phase in enumerate(plan.phases):
        for gate in phase.gates:
            if isinstance(gate, MaintenanceWindow) and (reason := _wrong_with_window(gate)):
                yield _error(
                    CheckId.WRONG_WINDOW,
                    f"The maintenance window of phase {number} {reason}",
                    "Give it days, hours that differ, and a zone such as 'Europe/Berlin'.",
                    plan,
                )
            if isinstance(gate, ChecklistComplete) and not plan.checklist:
                yield _error(
                    CheckId.NO_CHECKLIST,
                    f"Phase {number} wants the checklist complete, and the plan has none.",
                    "Give the plan a checklist, or leave the gate out.",
                    plan,
                )
    for item_id, count in Counter(item.id for item in plan.checklist).items():
        if count > 1:
            yield _error(
                CheckId.ITEM_ID_TWICE,
                f"{count} items of the checklist are called '{item_id}'.",
                "Give each item an id of its own.",
                plan,
            )


def _wrong_with_window(window: MaintenanceWindow) -> str:
    if window.zone not in available_timezones():
        return f"is in the time zone '{window.zone}', which there is not."
    if not window.days:
        return "opens on no day."
    if window.opens == window.closes:
        return "closes when it opens."
    return ""
