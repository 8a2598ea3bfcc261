"""Refuses conversions that could not run, or whose way back would lose something."""

from collections import Counter
from collections.abc import Iterator
from typing import get_args, get_type_hints

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem, numbered_steps
from rollout.plan.conversions import Conversion, Convert
from rollout.plan.cutovers import CutOver
from rollout.plan.expressions import fault_of
from rollout.plan.extractions import Extract
from rollout.plan.kept_columns import KeptColumn
from rollout.plan.plan import Plan
from rollout.plan.vocabulary_columns import VocabularyColumn
from rollout.plan.wide_columns import WideColumn

# What a WidenKey makes wide.
_NARROW = ("smallint", "integer")
# The word of the declaration, and what to do about a problem with it.
_CONVERT = (
    "Convert",
    "Write forward={'new': 'SQL over {legacy}'} for each new column, and "
    "backward={'legacy': 'SQL over {new}'} for each legacy one.",
)
_WIDEN_KEY = (
    "WidenKey",
    "Name columns that the database has as smallint or integer.",
)
_HINT = "Take its translations and phases() into the plan, or write the same steps yourself."
_TO_ENUM, _TO_CHECK = ("ToEnum", _HINT), ("ToCheck", _HINT)


# What follows a column's name in the braces of an expression begins with one of these.
_ENDS_OF_NAMES = frozenset("{}:!")


def unreadable_expressions(plan: Plan) -> Iterator[Problem]:
    """Expressions with an open brace, and columns whose names end early if an expression has them.

    An expression of a step may have them too.
    """
    for t in (t for t in plan.translations if isinstance(t, Conversion)):
        written = (*t.expressions.values(), *t.ways_back.values())
        names = {*t.legacy, *t.added} if isinstance(t, Extract | KeptColumn) else set()
        odd = sorted(name for name in names if _ENDS_OF_NAMES & set(name))
        label = f"{t.table.label}.{t.name}"
        if odd:
            yield _unreadable(
                f"The translation of {label} names '{odd[0]}', which no expression can name."
            )
        elif fault := next(filter(None, map(fault_of, written)), ""):
            yield _unreadable(f"The translation of {label} has an expression that {fault}.")
    for number, step in numbered_steps(plan):
        for parameter, expression in step.expressions.items():
            if fault := fault_of(expression):
                yield _unreadable(f"In step '{step.id}' of phase {number}, {parameter}= {fault}.")


def _unreadable(message: str) -> Problem:
    return Problem(
        CheckId.UNREADABLE_EXPRESSION,
        message,
        "Close every brace, and double a brace that is not a column's. A column that has one of "
        "{ } : ! in its name cannot be named in an expression: rename it first.",
    )


def conversion_problems(plan: Plan) -> Iterator[Problem]:
    converts = [t for t in plan.translations if isinstance(t, Convert)]
    writers = Counter(
        (t.table.label, column)
        for t in plan.translations
        for column in (t.ways_back if isinstance(t, Conversion) else _legacy(t))
    )
    for convert in converts:
        shared = [c for c in convert.legacy if writers[convert.table.label, c] > 1]
        kind, hint = _words(convert)
        for problem in (
            *_sides(convert),
            *_expressions(plan, convert),
            *_rows(convert),
            *_kept_name(plan, convert),
            *_wide(convert),
            *(f"another translation is of the legacy column '{c}' too" for c in shared),
        ):
            yield Problem(
                CheckId.WRONG_CONVERSION,
                f"The {kind} of {convert.table.label}.{', '.join(convert.legacy)} is invalid: "
                f"{problem}.",
                hint,
            )


def _words(convert: Convert) -> tuple[str, str]:
    if isinstance(convert, VocabularyColumn):
        return _TO_ENUM if convert.enum else _TO_CHECK
    return _WIDEN_KEY if isinstance(convert, WideColumn) else _CONVERT


def _wide(convert: Convert) -> Iterator[str]:
    if not isinstance(convert, WideColumn):
        return
    declared = convert.table.columns.get(*convert.legacy)
    if declared is None:
        yield "the table declares no such column"
    elif declared.type not in _NARROW:
        yield f"the table declares it as {declared.type}, not as smallint or integer"


def _legacy(translation: object) -> tuple[str, ...]:
    legacy = getattr(translation, "legacy", None)
    return (legacy,) if isinstance(legacy, str) else ()


def _sides(convert: Convert) -> Iterator[str]:
    if not convert.legacy or not convert.columns:
        yield "it needs at least one legacy column and one new column"
    for column in convert.legacy:
        if column not in convert.backward:
            yield f"backward does not say what '{column}' is to hold again"
        if column in convert.table.key and not isinstance(convert, WideColumn):
            yield f"'{column}' is part of the primary key"
    for column in convert.columns:
        if column not in convert.forward:
            yield f"forward does not say what '{column}' is to hold"
    for column in convert.forward:
        if column not in convert.columns:
            yield f"forward names the new column '{column}', which is not in columns"
    for column in convert.backward:
        if column not in convert.legacy:
            yield f"backward names the legacy column '{column}', which is not in legacy"


def _expressions(plan: Plan, convert: Convert) -> Iterator[str]:
    known = {*convert.table.columns, *convert.columns}
    dropped = plan.legacy_of(convert.table)
    for column in convert.legacy:
        if column not in convert.reads:
            yield f"forward does not read '{column}'"
    for column in convert.columns:
        if column in convert.reads:
            yield f"forward reads its own new column '{column}'"
        if convert.backward and column not in convert.read_by_back:
            yield f"backward does not read '{column}', so that its values would be lost"
    for column in convert.read_by_back:
        if column in dropped:
            yield f"backward reads '{column}', which phase 4 drops"
        elif column not in known:
            yield f"backward reads '{column}', which does not exist"


def _rows(convert: Convert) -> Iterator[str]:
    known = get_args(get_type_hints(Convert)["unconvertible"])
    if convert.unconvertible not in known:
        yield f"unconvertible is '{convert.unconvertible}', not " + " or ".join(map(repr, known))
    if convert.leaves_empty and convert.required:
        yield "unconvertible='null' leaves columns empty that required=True makes NOT NULL"


def _kept_name(plan: Plan, convert: Convert) -> Iterator[str]:
    if not convert.keeps_name:
        return
    if len(convert.legacy) != 1 or len(convert.columns) != 1:
        yield "keeps_name needs one legacy column and one new column"
        return
    names = convert.names_after_cutover
    aside = names[convert.legacy[0]]
    taken = {*convert.table.columns, *(c for t in plan.translations for c in t.added)}
    if aside in taken:
        yield f"keeps_name calls the legacy column '{aside}' after the cutover, which is taken"
    cutovers = [step for _, step in numbered_steps(plan) if isinstance(step, CutOver)]
    if convert.table not in [step.table for step in cutovers]:
        yield f"keeps_name needs a CutOver of {convert.table.label}"
    for computed in plan.computed_of(convert.table):
        for column in computed.reads:
            if column in names:
                yield (
                    f"the function {computed.function} reads '{column}', which has another name "
                    "after the cutover"
                )
