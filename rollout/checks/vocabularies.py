"""Refuses vocabularies whose values could not be told apart, or that nothing would enforce."""

import re
from collections import Counter
from collections.abc import Iterator

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem, numbered_steps
from rollout.plan.constraints import AddCheck
from rollout.plan.enum_types import EnumType
from rollout.plan.names import MAX_IDENTIFIER_BYTES
from rollout.plan.plan import Plan
from rollout.plan.vocabularies import CreateEnum
from rollout.plan.vocabulary_columns import VocabularyColumn, condition_of

_TEXT = re.compile(r"text|character varying(?:\((\d+)\))?")
# No built-in type has such a name, and of SQL's words only those of the present session and time.
_TYPE_NAME = re.compile(r"(?!current_|session_|system_)[a-z][a-z0-9]*(_[a-z0-9]+)+")


def vocabulary_problems(plan: Plan) -> Iterator[Problem]:
    for column in (t for t in plan.translations if isinstance(t, VocabularyColumn)):
        kind = "ToEnum" if column.enum else "ToCheck"
        for problem in (
            *_column(column),
            *_values(column),
            *_synonyms(column),
            *(_type(plan, column.enum) if column.enum else _check(plan, column)),
        ):
            yield Problem(
                CheckId.WRONG_VOCABULARY,
                f"The {kind} of {column.table.label}.{column.legacy[0]} is invalid: {problem}.",
                "Write values=('open', 'sold'), synonyms={'for sale': 'open'}, and take its "
                "translations and phases() into the plan.",
            )


def _column(column: VocabularyColumn) -> Iterator[str]:
    (legacy,) = column.legacy
    if legacy not in column.table.columns:
        yield "the table declares no such column"
    elif not _TEXT.fullmatch(column.of_legacy.type):
        yield f"the table declares it as {column.of_legacy.type}, not as text or character varying"


def _values(column: VocabularyColumn) -> Iterator[str]:
    if not column.vocabulary:
        yield "values is empty"
    size = _TEXT.fullmatch(column.of_legacy.type)
    longest = int(size[1]) if size and size[1] else None
    for value in column.vocabulary:
        if not _is_tidy(value):
            yield f"the value {value!r} begins or ends with white space, or has more than a blank"
        elif longest is not None and len(value) > longest:
            yield f"the value {value!r} is too long for {column.of_legacy.type}"
        elif column.enum and len(value.encode()) > MAX_IDENTIFIER_BYTES:
            yield (
                f"the value {value!r} is longer than the {MAX_IDENTIFIER_BYTES} bytes of an enum's"
            )
    for form, number in Counter(value.lower() for value in column.vocabulary).items():
        if number > 1:
            yield f"{number} values are {form!r} but for their case"


def _synonyms(column: VocabularyColumn) -> Iterator[str]:
    own = {value.lower() for value in column.vocabulary if value}
    forms = Counter(text.lower() for text in column.synonyms)
    for text, value in column.synonyms.items():
        if value not in column.vocabulary:
            yield f"the synonym {text!r} means {value!r}, which is none of the values"
        if not _is_tidy(text):
            yield f"the synonym {text!r} begins or ends with white space, or has more than a blank"
        elif text.lower() in own:
            yield f"the synonym {text!r} is a value itself"
        elif forms[text.lower()] > 1:
            yield f"another synonym differs from {text!r} only in case"


def _is_tidy(text: str) -> bool:
    """Whether white space in it is single blanks between words, as in what it is compared with."""
    return text == " ".join(text.split()) and "\0" not in text


def _type(plan: Plan, enum: EnumType) -> Iterator[str]:
    if not _TYPE_NAME.fullmatch(enum.name) or len(enum.name) > MAX_IDENTIFIER_BYTES:
        yield (
            f"type={enum.name!r} is not made of two or more words in lower case with underscores "
            "between them"
        )
    creators = [step for _, step in numbered_steps(plan) if isinstance(step, CreateEnum)]
    of_type = [step for step in creators if step.enum.identifier == enum.identifier]
    if not of_type:
        yield f"no CreateEnum creates the type {enum.label}"
    elif len(of_type) > 1:
        yield f"{len(of_type)} steps create the type {enum.label}"
    elif of_type[0].enum != enum:
        yield f"the step that creates the type {enum.label} is of other values"


def _check(plan: Plan, column: VocabularyColumn) -> Iterator[str]:
    condition = condition_of(next(iter(column.columns)), column.vocabulary)
    if not any(
        isinstance(step, AddCheck) and step.table == column.table and step.condition == condition
        for _, step in numbered_steps(plan)
    ):
        yield "no AddCheck before the cutover has its condition"
