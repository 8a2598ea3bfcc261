"""Refuses extractions whose rows could not be told apart, or whose values would be lost."""

from collections import Counter
from collections.abc import Iterator
from typing import get_args, get_type_hints

from rollout.checks.ids import CheckId
from rollout.checks.problems import Problem, numbered_steps
from rollout.plan.conversions import Conversion
from rollout.plan.dual_write_functions import is_compared_as_text
from rollout.plan.extracted_tables import CreateExtractedTable
from rollout.plan.extractions import Extract
from rollout.plan.plan import Plan
from rollout.plan.translations import Lookup


def extraction_problems(plan: Plan) -> Iterator[Problem]:
    for extract in (t for t in plan.translations if isinstance(t, Extract)):
        for problem in (
            *_columns(extract),
            *_key(extract),
            *_rule(extract),
            *_others(plan, extract),
            *_table(plan, extract),
        ):
            yield Problem(
                CheckId.WRONG_EXTRACTION,
                f"The Extract of {extract.table.label} into {extract.into} is invalid: {problem}.",
                "Name the legacy columns in legacy=, those by which rows mean the same row in "
                "key=, and create the new table with CreateExtractedTable in phase 1.",
            )


def _columns(extract: Extract) -> Iterator[str]:
    names = Counter(["id", *extract.names.values()])
    if not extract.legacy:
        yield "it needs at least one legacy column"
    for column, number in Counter(extract.legacy).items():
        if number > 1:
            yield f"legacy names '{column}' twice"
        if column in extract.table.key:
            yield f"'{column}' is part of the primary key, which stays"
        if is_compared_as_text(extract.of_legacy(column).type):
            yield f"'{column}' is {extract.of_legacy(column).type}, which rows cannot be told by"
    for column in extract.columns:
        if column not in extract.legacy:
            yield f"columns names '{column}', which is not in legacy"
    for name, number in names.items():
        if number > 1:
            yield f"the new table would have several columns '{name}'"


def _key(extract: Extract) -> Iterator[str]:
    if not extract.key:
        yield "key is empty"
    if extract.is_split:
        if len(extract.key) > 1:
            yield "the table's key has several columns: a new row has one"
        return
    for column in extract.key:
        if column not in extract.legacy:
            yield f"key names '{column}', which is not in legacy"


def _rule(extract: Extract) -> Iterator[str]:
    known = get_args(get_type_hints(Extract)["conflicts"])
    if extract.conflicts not in known:
        yield f"conflicts is '{extract.conflicts}', not " + " or ".join(map(repr, known))
    if extract.is_split and (extract.conflicts != "refuse" or extract.id_type):
        yield "a row of its own has no conflicts, and its id the type of the table's key"
    if extract.is_reviewed and not extract.decides_of:
        yield "conflicts='decide' needs a legacy column besides those of key"
    if (extract.conflicts == "newest") != bool(extract.newest):
        yield "conflicts='newest' and newest= belong together"
    if extract.newest and extract.newest not in extract.table.columns:
        yield f"newest is '{extract.newest}', which does not exist"


def _others(plan: Plan, extract: Extract) -> Iterator[str]:
    for other in plan.translations_of(extract.table):
        if other is extract:
            continue
        written = set(other.drops)
        if isinstance(other, Conversion):
            written |= other.ways_back.keys()
        for column in (*extract.legacy, *(extract.key if extract.is_split else ())):
            if column in written:
                yield f"another translation is of the legacy column '{column}' too"
        if extract.newest and extract.newest in other.added:
            yield f"newest is '{extract.newest}', which the plan adds"


def _table(plan: Plan, extract: Extract) -> Iterator[str]:
    label = extract.lookup_label
    if label in {table.label for table in plan.tables}:
        yield f"{label} is one of the plan's tables: a rollback would delete its rows and drop it"
    rows = [t for t in plan.translations if isinstance(t, Lookup | Extract)]
    if sum(t.lookup_label == label for t in rows) > 1:
        yield f"another translation makes rows of {label} too"
    if not any(
        isinstance(step, CreateExtractedTable) and step.extract == extract
        for _, step in numbered_steps(plan)
    ):
        yield f"no step creates the table {label}"
