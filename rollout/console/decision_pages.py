"""What pages of decisions share: the mapping review, and values that do not convert."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import psycopg
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from rollout import gates
from rollout.console.http.access import ConsoleRequest
from rollout.console.http.links import rollout_url
from rollout.console.lists.pages import Order, Page, page_of_texts
from rollout.engine.target import reason_of
from rollout.gates.row_updates import reviews_to_follow
from rollout.models import MappingChange, PhaseRun, Rollout
from rollout.plan import plans
from rollout.queries.inboxes import decisions_url
from rollout.queries.mapping_csv import MAX_BYTES, InvalidMappingFile

# Each value has a handful of fields, and Django accepts 1,000 in a form.
MAX_VALUES_ON_PAGE = 100
MAX_HISTORY = 20

Value = TypeVar("Value")


def frame_of(
    request: ConsoleRequest,
    rollout: Rollout,
    *,
    table: str,
    column: str,
    history: list[MappingChange],
    names: tuple[str, str, str],
    refusal: str,
    unreadable: InvalidMappingFile | None,
    runs: Mapping[int, PhaseRun] | None = None,
) -> dict[str, object]:
    """What the page shows whatever its values are.

    ``names`` are the URL names of the page, of what its forms post to and of its file; ``runs``
    the newest of each phase, where they are known.
    """
    list_at, decide_at, csv_at = (rollout_url(rollout, name, table, column) for name in names)
    return {
        "rollout": rollout,
        "table": table,
        "column": column,
        "list_at": list_at,
        "decide_at": decide_at,
        "csv_at": csv_at,
        "query": query_of(request),
        "refusal": refusal,
        # Asked for once: a hundred rows have fields where people may decide.
        "may_decide": not refusal and request.user.has_perm("rollout.review_mapping"),
        "unreadable": unreadable,
        "history": history,
        "to_follow": _to_follow(rollout, history, runs),
    }


def _to_follow(
    rollout: Rollout, history: Sequence[MappingChange], runs: Mapping[int, PhaseRun] | None
) -> list[MappingChange]:
    """The reviews of the history whose rows still hold what they held before."""
    if not any(change.moves_rows for change in history):
        return []
    now = gates.newest_runs(rollout) if runs is None else runs
    of_page = {change.pk for change in history}
    return [c for c in reviews_to_follow({rollout.pk: now})[rollout.pk] if c.pk in of_page]


def history_of(rollout: Rollout, table: str, reads: str) -> list[MappingChange]:
    """The newest decisions about a table's legacy columns."""
    return list(rollout.mapping_changes.filter(table=table, legacy_column=reads)[:MAX_HISTORY])


def page_of_change(change: MappingChange) -> str:
    """The page on which the decisions were made: a mapping's review, or that of values."""
    rollout, plan = change.rollout, plans.find(change.rollout.plan)
    lookups = {(x.table.label, x.legacy) for x in plan.lookups} if plan is not None else set()
    if (change.table, change.legacy_column) in lookups:
        return rollout_url(rollout, "mapping", change.table, change.legacy_column)
    return decisions_url(rollout)


def query_of(request: ConsoleRequest) -> str:
    """By which the address shows the same values; to count them again is asked once."""
    query = request.GET.copy()
    query.pop("count", None)
    return f"?{query.urlencode()}" if query else ""


def failed_page(
    request: ConsoleRequest, template: str, page: dict[str, object], error: psycopg.Error
) -> HttpResponse:
    """The page without the values, which could not be read."""
    # The refusal says all about a column that phase 4 has dropped.
    is_gone = page["refusal"] and isinstance(error, psycopg.errors.UndefinedColumn)
    page["error"] = "" if is_gone else reason_of(error)
    return render(request, template, page, status=200 if is_gone else 503)


def page_of_values(
    request: ConsoleRequest,
    in_work: Sequence[Value],
    others: Iterable[Value],
    *,
    orders: tuple[Order, ...],
    key: str,
) -> tuple[list[Value], Page[Value]]:
    """The values on a page, and the list that its other pages go on with.

    What somebody is deciding about stands first, whatever the filter and the page.
    """
    first = list(in_work[: MAX_VALUES_ON_PAGE - 1])
    size = MAX_VALUES_ON_PAGE - len(first)
    listed = page_of_texts(others, request.GET, size=size, orders=orders, key=key)
    return [*first, *listed], listed


def uploaded_file(request: ConsoleRequest) -> bytes | None:
    """The decisions that somebody uploaded, a byte more of them than a file may have at most."""
    file = request.FILES.get("file")
    return file.read(MAX_BYTES + 1) if isinstance(file, UploadedFile) else None


def csv_response(lines: Iterable[str], name: str) -> HttpResponse:
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    # A StreamingHttpResponse is answered like any other.
    return response  # type: ignore[return-value]


def nothing_to_preview(is_file: bool, advice: str) -> str:
    """What a press says that would change no decision; ``advice`` is for one without a file."""
    if is_file:
        return "No changes to preview: the file was read, and decides nothing that is not so now."
    return f"No changes to preview. {advice}"
