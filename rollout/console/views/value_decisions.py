"""Values that do not convert, and keys in conflict: which there are, and what people decide."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from rollout import runner
from rollout.console.decision_pages import (
    csv_response,
    failed_page,
    frame_of,
    history_of,
    nothing_to_preview,
    page_of_values,
    query_of,
    uploaded_file,
)
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.links import rollout_url
from rollout.console.http.shortcuts import conversion_or_404, rollout_or_404
from rollout.console.value_forms import ORDERS, ValueFilter, asked_in, rows_of, to_carry
from rollout.console.views.runs import perform
from rollout.engine.value_decisions import (
    CannotDecideValues,
    Decision,
    UnconvertibleValue,
)
from rollout.engine.value_previews import (
    Texts,
    Unit,
    as_legacy,
    unit_of,
    values_or_decisions,
)
from rollout.journal.environments import target_of
from rollout.logs.texts import counted
from rollout.models import MappingChange, Rollout
from rollout.plan import plans
from rollout.plan.conversions import Conversion
from rollout.plan.extractions import Extract
from rollout.queries import value_csv
from rollout.queries.mapping_csv import InvalidMappingFile

# A page does not wait longer for the rows to be read.
READ_SECONDS = 20


@may("view_rollout")
@require_safe
def values(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    return _page(request, rollout, conversion_or_404(rollout, table, column))


@may("review_mapping")
@require_POST
def preview(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    """What decisions of a form or a file would change; with ``edit`` back to the values."""
    rollout = rollout_or_404(plan, environment)
    conversion = conversion_or_404(rollout, table, column)
    asked = asked_in(request.POST, conversion)
    if "edit" in request.POST:
        return _page(request, rollout, conversion, asked)
    try:
        if (data := uploaded_file(request)) is not None:
            asked |= value_csv.decisions_in(data, conversion, _values(rollout, conversion))
    except InvalidMappingFile as error:
        return _page(request, rollout, conversion, unreadable=error, status=422)
    if not asked:
        messages.info(request, nothing_to_preview(data is not None, "Decide about a value first."))
        return redirect(_address(request, rollout, conversion))
    return _preview_page(request, rollout, conversion, asked)


@may("review_mapping")
@require_POST
def decide(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    """Decide as a preview has shown."""
    rollout = rollout_or_404(plan, environment)
    conversion = conversion_or_404(rollout, table, column)
    asked, seen = asked_in(request.POST, conversion), request.POST.get("seen", "")
    try:
        is_done = perform(
            request,
            lambda: runner.decide_values(rollout, conversion, asked, actor=request.user, seen=seen),
            _decided,
        )
    except CannotDecideValues as error:
        return _page(request, rollout, conversion, asked, problems=error.problems, status=422)
    if not is_done and asked:
        return _preview_page(request, rollout, conversion, asked, status=409)
    return redirect(_address(request, rollout, conversion))


@may("view_rollout")
@require_safe
def download(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    conversion = conversion_or_404(rollout, table, column)
    lines = value_csv.lines_of(conversion, _values(rollout, conversion))
    return csv_response(lines, f"{plan}-values")


def _values(rollout: Rollout, conversion: Conversion) -> list[UnconvertibleValue]:
    """Raises psycopg.Error."""
    with target_of(rollout.environment).connect_briefly(READ_SECONDS) as connection:
        return values_or_decisions(connection, plans.get(rollout.plan), conversion)[0]


@dataclass(frozen=True)
class _Read:
    """What the page reads of the target: the values, and how to understand what is decided."""

    values: list[UnconvertibleValue]
    are_gone: bool
    """Whether phase 4 has dropped the legacy columns: only the decisions are left."""
    unit: Unit
    reads_as: Mapping[str, Texts]


def _read(rollout: Rollout, conversion: Conversion) -> _Read:
    """Raises psycopg.Error."""
    plan = plans.get(rollout.plan)
    with target_of(rollout.environment).connect_briefly(READ_SECONDS) as connection:
        listed, are_gone = values_or_decisions(connection, plan, conversion)
        decisions = {v.source: v.decided for v in listed if v.decided is not None}
        return _Read(
            listed,
            are_gone,
            unit_of(connection, plan, conversion, are_gone=are_gone),
            as_legacy(connection, conversion, decisions),
        )


def _decided(change: MappingChange) -> str:
    back = change.taken_back
    saved = len(change.changes) - back
    done = f"{counted(saved, 'decision')} saved."
    if back:
        others = f"{counted(saved, 'decision')} saved, {back:,}" if saved else ""
        done = f"{others or counted(back, 'decision')} taken back."
    if change.moves_rows:
        return f"{done} New writes follow at once; update the rows that are there."
    if not saved:
        return f"{done} Somebody has to decide again."
    return f"{done} {'Their rows hold them now' if change.mapped else 'Phase 2 will use them'}."


def _address(request: ConsoleRequest, rollout: Rollout, conversion: Conversion) -> str:
    at = rollout_url(rollout, "values", conversion.table.label, conversion.name)
    return f"{at}{query_of(request)}"


def _preview_page(
    request: ConsoleRequest,
    rollout: Rollout,
    conversion: Conversion,
    asked: Mapping[str, Decision],
    *,
    status: int = 200,
) -> HttpResponse:
    preview = runner.preview_decisions(rollout, conversion, asked, actor=request.user)
    if preview.problems:
        return _page(request, rollout, conversion, asked, problems=preview.problems, status=422)
    with target_of(rollout.environment).connect_briefly(READ_SECONDS) as connection:
        unit = unit_of(connection, plans.get(rollout.plan), conversion)
    page = {
        "rollout": rollout,
        "conversion": conversion,
        "preview": preview,
        "unit": unit,
        "is_of_keys": isinstance(conversion, Extract),
        "decisions": to_carry(asked, conversion),
        "query": query_of(request),
    }
    return render(request, "rollout/values_preview.html", page, status=status)


def _page(
    request: ConsoleRequest,
    rollout: Rollout,
    conversion: Conversion,
    asked: Mapping[str, Decision] | None = None,
    *,
    problems: Mapping[str, Mapping[str, str]] | None = None,
    unreadable: InvalidMappingFile | None = None,
    status: int = 200,
) -> HttpResponse:
    asked, problems = asked or {}, problems or {}
    filters = ValueFilter(request.GET)
    page = frame_of(
        request,
        rollout,
        table=conversion.table.label,
        column=conversion.name,
        history=history_of(rollout, conversion.table.label, ", ".join(conversion.decided_about)),
        names=("values", "values_preview", "values_csv"),
        refusal=runner.refusal_to_review(rollout),
        unreadable=unreadable,
    )
    page |= {
        "conversion": conversion,
        "filters": filters,
        "empty_mark": value_csv.EMPTY,
        "leave_mark": value_csv.LEAVE,
        "key": "source",
        "becomes": "Becomes",
        "undecided_word": "undecided",
    }
    try:
        read = _read(rollout, conversion)
    except psycopg.Error as error:
        return failed_page(request, _template(conversion), page, error)
    listed = read.values
    order = {source: number for number, source in enumerate([*problems, *asked])}
    in_work = [value for value in listed if value.source in order]
    in_work.sort(key=lambda value: order[value.source])
    others = [value for value in filters.matching(listed) if value.source not in order]
    on_page, shown = page_of_values(request, in_work, others, orders=ORDERS, key="source")
    rows = rows_of(on_page, conversion, asked, problems, read.reads_as)
    on_page_too = {value.source for value in on_page}
    page |= {
        "read": read,
        "unit": read.unit,
        "values": shown,
        "number": len(listed),
        "undecided": sum(value.is_open for value in listed),
        "undecided_rows": sum(value.rows for value in listed if value.is_open),
        "rows": rows,
        "problems": [
            (f"value-{row.number}-{field.number}", row.value, field.problem)
            for row in rows
            for field in row.fields
            if field.problem
        ],
        "carried": to_carry({s: d for s, d in asked.items() if s not in on_page_too}, conversion),
        "matching": len(others) + len(in_work),
    }
    return render(request, _template(conversion), page, status=status)


def _template(conversion: Conversion) -> str:
    name = "conflicts" if isinstance(conversion, Extract) else "values"
    return f"rollout/{name}.html"
