"""Mismatching rows as a streamed download: those a report stored, or all that mismatch now."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from rollout.engine.audit import MISMATCHED, mismatching_rows
from rollout.engine.target import Target
from rollout.journal.environments import audit_target_of
from rollout.models import AuditReport
from rollout.plan import plans
from rollout.plan.plan import Plan

COLUMNS = ("table", "key", "column", "category", "state", "legacy", "expected", "actual")
# What a spreadsheet takes for the beginning of a formula: a sign, also a full-width one and behind
# what it leaves out, or what ends a cell. An apostrophe is there to be told from ours.
_FORMULA = re.compile(r"[\t\r\n']|[\s\u200b\ufeff]*[=+@\-＝＋－＠]")
BATCH_SIZE = 1000


def in_cells(report: AuditReport) -> int:
    """How many mismatches a report counted; a row counts once for each of its columns."""
    return sum(
        cell["rows"]
        for translation in report.translations
        for cell in translation["cells"]
        if cell["category"] in MISMATCHED
    )


def keeps_all(report: AuditReport) -> bool:
    """Whether a report kept every mismatch that it counted."""
    return report.stored_mismatches >= in_cells(report)


def rows_of(report: AuditReport) -> Iterator[dict[str, Any]]:
    """A report's mismatching rows by ``COLUMNS``.

    If it stored only some, all rows that mismatch now are read from the database instead; their
    state is "now". Raises UnknownPlan and psycopg.Error.
    """
    if keeps_all(report):
        return kept_of(report)
    plan = plans.get(report.rollout.plan)
    target, _alias = audit_target_of(report.rollout.environment)
    rows = _rows_now(report, plan, target)
    # Fail before the first line is sent: a file of a heading alone looks like no mismatches.
    first = list(islice(rows, 1))
    return chain(first, rows)


def kept_of(report: AuditReport) -> Iterator[dict[str, Any]]:
    """The mismatching rows that a report kept."""
    yield from report.found.values(*COLUMNS).iterator(chunk_size=BATCH_SIZE)


def _rows_now(report: AuditReport, plan: Plan, target: Target) -> Iterator[dict[str, Any]]:
    with target.connect() as connection:
        for table in plan.audited_tables:
            if report.tables and table.label not in report.tables:
                continue
            for row in mismatching_rows(connection, plan, table):
                yield {name: getattr(row, name, "now") for name in COLUMNS}


class _Echo:
    """A file for csv.writer, which returns each line."""

    def write(self, line: str) -> str:
        return line


def as_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> Iterator[str]:
    """Lines of CSV with a heading; no cell is a formula for spreadsheets."""
    writer = csv.writer(_Echo())
    yield writer.writerow(columns)
    for row in rows:
        yield writer.writerow([safe_cell(row[name]) for name in columns])


def safe_cell(value: object) -> str:
    """A cell that spreadsheets show as text: formulas get an apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def text_of_cell(cell: str) -> str:
    """The text that ``safe_cell`` wrote."""
    return cell.removeprefix("'")


def as_json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """An array of objects, one a line."""
    yield "["
    separator = "\n"
    for row in rows:
        yield separator + json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False)
        separator = ",\n"
    yield "\n]\n"
