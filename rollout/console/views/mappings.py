"""The review of mappings: what legacy texts become, decided by people."""

from collections.abc import Sequence
from itertools import islice

import psycopg
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from rollout import runner
from rollout.console import mapping_messages
from rollout.console.decision_pages import (
    csv_response,
    failed_page,
    frame_of,
    history_of,
    nothing_to_preview,
    page_of_change,
    page_of_values,
    query_of,
    uploaded_file,
)
from rollout.console.http.access import ConsoleRequest, may
from rollout.console.http.fragments import SLOW, cache_fragment, now_ms, render_live
from rollout.console.http.links import rollout_url
from rollout.console.http.sessions import confirmed_recently
from rollout.console.http.shortcuts import lookup_or_404, review_or_404, rollout_or_404
from rollout.console.lookup_states import (
    LOOKUP_SECONDS,
    conversion_states,
    first_open,
    lookup_states,
    open_now,
)
from rollout.console.mapping_counts import Counted, remembering, reviewed, seen_mark
from rollout.console.mapping_forms import (
    DEFAULT_SIMILARITY,
    MAX_CONFIRMED,
    ORDERS,
    ValueFilter,
    accepted,
    asked_in,
    marks_of,
    matching,
    rows_of,
    seen_of,
    similarity_choices,
    similarity_in,
    to_carry,
)
from rollout.console.views.runs import perform
from rollout.engine import mapping
from rollout.engine.mapping import COUNT_SECONDS, Decision, Review, Value
from rollout.engine.target import Connection, limit, reason_of
from rollout.gates.mappings import review_gate
from rollout.journal.environments import target_of
from rollout.models import MappingChange, Rollout
from rollout.plan import plans
from rollout.plan.translations import Lookup
from rollout.queries import mapping_csv
from rollout.queries.look_alikes import look_alikes
from rollout.queries.mapping_csv import InvalidMappingFile
from rollout.queries.mapping_reviews import confirmations
from rollout.queries.similar_names import Suggestion, Suggestions
from rollout.queries.status import summaries_of

# Maximum names that a field offers while somebody types.
MAX_NAMES_OFFERED = 1000
# A hundred thousand texts are reviewed within seconds; a page does not wait for a busy server.
REVIEW_SECONDS = 20


@may("view_rollout")
@require_safe
@cache_fragment
def mappings(request: ConsoleRequest, plan: str, environment: str) -> HttpResponse:
    """The lookups; with ``show=open`` the values to review of the first one that has any."""
    rollout = rollout_or_404(plan, environment)
    states = lookup_states(rollout)
    if request.GET.get("show") == "open" and (lookup := first_open(states)) is not None:
        return redirect(f"{_all_values(rollout, lookup)}?show=open")
    page = {
        "rollout": rollout,
        "lookups": states,
        "gate": review_gate(rollout, plans.get(plan)),
        "live": SLOW,
        "conversions": conversion_states(rollout),
        # The tab states the same reading as the page.
        "open_now": open_now(states),
    }
    return render_live(request, "mappings", page)


@may("view_rollout")
@require_safe
@cache_fragment
def new_values(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    """What the application wrote since; the review's page asks for it again and again."""
    rollout = rollout_or_404(plan, environment)
    lookup = lookup_or_404(rollout, table, column)
    if not request.htmx:
        # Somebody followed the address of a part of the page.
        return redirect(f"{_all_values(rollout, lookup)}?show=new")
    page: dict[str, object] = {"rollout": rollout, "lookup": lookup, "live": SLOW}
    try:
        with target_of(rollout.environment).connect_briefly(LOOKUP_SECONDS) as connection:
            page |= _new_of(connection, rollout, lookup)
    except psycopg.Error as error:
        page["new_error"] = reason_of(error)
    return render(request, "rollout/mapping_new.html", page)


def _new_of(connection: Connection, rollout: Rollout, lookup: Lookup) -> dict[str, object]:
    try:
        new = mapping.new_texts(connection, plans.get(rollout.plan), lookup)
    except psycopg.Error as error:
        return {"new_error": reason_of(error)}
    return {"new": new[0], "newest": new[1]} if new else {}


@may("view_rollout")
@require_safe
def review(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    lookup = lookup_or_404(rollout, table, column)
    if "count" in request.GET:
        response = redirect(f"{_all_values(rollout, lookup)}{query_of(request)}")
        return remembering(response, request, rollout, lookup, now_ms())
    return _review_page(request, rollout, lookup, {})


@may("review_mapping")
@require_POST
def preview(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    """What decisions would change. With ``edit`` back to the values, with the decisions in them."""
    rollout = rollout_or_404(plan, environment)
    lookup = lookup_or_404(rollout, table, column)
    if "edit" in request.POST:
        return _review_page(request, rollout, lookup, asked_in(request.POST))
    try:
        asked = asked_in(request.POST)
        if (data := uploaded_file(request)) is not None:
            asked |= mapping_csv.decisions_in(data, _reviewed(request, rollout, lookup)[0].values)
    except InvalidMappingFile as error:
        return _review_page(request, rollout, lookup, {}, unreadable=error, status=422)
    if (bulk := request.POST.get("bulk")) == "all":
        return _confirm_all(request, rollout, lookup, asked)
    if bulk == "similar":
        values, suggestions = _matching(request, rollout, lookup)
        asked = accepted(values, suggestions or {}, similarity_in(request.POST)) | asked
    if not asked:
        messages.info(request, nothing_to_preview(data is not None, "Change a value first."))
        return redirect(_address(request, rollout, lookup))
    return _preview_page(request, rollout, lookup, asked)


def _confirm_all(
    request: ConsoleRequest, rollout: Rollout, lookup: Lookup, asked: dict[str, Decision]
) -> HttpResponse:
    """Confirm the values that the page showed and nobody has decided on, at once.

    What changes the meaning of any is previewed first; what came since stays open, and is named.
    """
    shown, _ = _matching(request, rollout, lookup)
    open_values = confirmations(value for value in shown if not value.reviewer)
    confirmed, came, gone = seen_of(open_values, request.POST.get("shown", ""))
    if gone:
        messages.info(request, mapping_messages.open_no_more(gone))
    if came:
        texts = {value.normal: value.text for value in shown}
        messages.warning(request, mapping_messages.still_open([texts[form] for form in came]))
    decisions = confirmed | asked
    if not decisions:
        return redirect(_address(request, rollout, lookup))
    preview = runner.preview_review(rollout, lookup, decisions, actor=request.user)
    if preview.outcome is None or preview.outcome.changes:
        return _preview_page(request, rollout, lookup, decisions)
    return _apply(request, rollout, lookup, decisions, preview.seen)


@may("review_mapping")
@require_POST
def apply(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    lookup = lookup_or_404(rollout, table, column)
    return _apply(request, rollout, lookup, asked_in(request.POST), request.POST.get("seen", ""))


def _apply(
    request: ConsoleRequest,
    rollout: Rollout,
    lookup: Lookup,
    asked: dict[str, Decision],
    seen: str,
) -> HttpResponse:
    done = perform(
        request,
        lambda: runner.review_mapping(rollout, lookup, asked, actor=request.user, seen=seen),
        mapping_messages.decided,
    )
    if not done and asked:
        return _preview_page(request, rollout, lookup, asked, status=409)
    return redirect(_after_review(request, rollout, lookup))


def _after_review(request: ConsoleRequest, rollout: Rollout, lookup: Lookup) -> str:
    """After a review, open the next lookup, then the rollout."""
    if request.GET.get("show") == "open":
        states = lookup_states(rollout)
        if all(state.counts is not None and not state.counts.open for state in states):
            messages.success(request, "Every value of every mapping is reviewed.")
            return rollout.get_absolute_url()
        of_this = next(state for state in states if state.lookup == lookup)
        following = first_open(states)
        if of_this.counts is not None and not of_this.counts.open and following is not None:
            next_open = next(state for state in states if state.lookup == following)
            assert next_open.counts is not None
            number = next_open.counts.open
            messages.info(request, mapping_messages.continues(lookup, following, number))
            return f"{_all_values(rollout, following)}?show=open"
    return _address(request, rollout, lookup)


@may("view_rollout")
@require_safe
def download(
    request: ConsoleRequest, plan: str, environment: str, table: str, column: str
) -> HttpResponse:
    rollout = rollout_or_404(plan, environment)
    lookup = lookup_or_404(rollout, table, column)
    values = _reviewed(request, rollout, lookup)[0].values
    return csv_response(mapping_csv.lines_of(values), f"{plan}-{lookup.legacy}-mapping")


@may("repair_rows")
@confirmed_recently()
@require_http_methods(["GET", "HEAD", "POST"])
def correct(request: ConsoleRequest, change_id: int) -> HttpResponse:
    """The rows whose texts a review gave another value: before, and a POST corrects them."""
    change = review_or_404(change_id)
    rollout = change.rollout
    if request.method == "POST":
        perform(
            request,
            lambda: runner.correct(change, actor=request.user),
            "Updating rows. A full audit runs when it finishes.",
        )
        return redirect(rollout)
    page = {
        "change": change,
        "rollout": rollout,
        "table": change.table,
        "preview": runner.preview_correction(change),
        "review_at": page_of_change(change),
    }
    return render(request, "rollout/repair.html", page)


def _reviewed(request: ConsoleRequest, rollout: Rollout, lookup: Lookup) -> tuple[Review, Counted]:
    with target_of(rollout.environment).connect_briefly(REVIEW_SECONDS) as connection:
        return reviewed(connection, rollout, lookup, since=seen_mark(request, lookup))


def _matching(
    request: ConsoleRequest, rollout: Rollout, lookup: Lookup
) -> tuple[list[Value], dict[str, Suggestion] | None]:
    return matching(_reviewed(request, rollout, lookup)[0], ValueFilter(request.GET))


def _address(request: ConsoleRequest, rollout: Rollout, lookup: Lookup) -> str:
    """The values, by the filter and on the page on which somebody decides on some of them."""
    return f"{_all_values(rollout, lookup)}{query_of(request)}"


def _all_values(rollout: Rollout, lookup: Lookup) -> str:
    return rollout_url(rollout, "mapping", lookup.table.label, lookup.legacy)


def _preview_page(
    request: ConsoleRequest,
    rollout: Rollout,
    lookup: Lookup,
    asked: dict[str, Decision],
    *,
    status: int = 200,
) -> HttpResponse:
    preview = runner.preview_review(rollout, lookup, asked, actor=request.user)
    if preview.problems:
        return _review_page(request, rollout, lookup, asked, problems=preview.problems, status=422)
    page = {
        "rollout": rollout,
        "lookup": lookup,
        "preview": preview,
        "outcome": preview.outcome,
        "decisions": to_carry(asked),
        "query": query_of(request),
    }
    return render(request, "rollout/mapping_preview.html", page, status=status)


def _review_page(
    request: ConsoleRequest,
    rollout: Rollout,
    lookup: Lookup,
    asked: dict[str, Decision],
    *,
    problems: dict[str, str] | None = None,
    unreadable: InvalidMappingFile | None = None,
    status: int = 200,
) -> HttpResponse:
    filters = ValueFilter(request.GET)
    (summary,) = summaries_of([rollout])
    history = history_of(rollout, lookup.table.label, lookup.legacy)
    page = frame_of(
        request,
        rollout,
        table=lookup.table.label,
        column=lookup.legacy,
        history=history,
        names=("mapping", "mapping_preview", "mapping_csv"),
        refusal=runner.refusal_to_review(rollout, summary),
        unreadable=unreadable,
        runs=summary.runs,
    )
    page |= {
        "status": summary,
        "lookup": lookup,
        "gate": review_gate(rollout, summary.plan),
        "filters": filters,
        "undo": _undo(history[0]) if history else "",
        "live": SLOW,
        "key": "normal",
        "becomes": "Maps to",
        "undecided_word": "not mapped",
    }
    try:
        with target_of(rollout.environment).connect_briefly(LOOKUP_SECONDS) as connection:
            page |= _new_of(connection, rollout, lookup)
            limit(connection, REVIEW_SECONDS)
            review, counts = reviewed(connection, rollout, lookup, since=seen_mark(request, lookup))
    except psycopg.Error as error:
        return failed_page(request, "rollout/mapping.html", page, error)
    problems = dict(problems or {})
    chosen, suggestions = matching(review, filters)
    order = {form: number for number, form in enumerate([*problems, *asked])}
    decided = [value for value in review.values if value.normal in order] if order else []
    decided.sort(key=lambda value: order[value.normal])
    others = [value for value in chosen if value.normal not in order] if order else chosen
    on_page, values = page_of_values(request, decided, others, orders=ORDERS, key="normal")
    choices = similarity_choices(chosen, suggestions) if suggestions else []
    alike = look_alikes(review.values)
    if suggestions is None or decided:
        suggestions = Suggestions(review, alike).of_all(on_page)
    shown = {value.normal for value in on_page}
    page |= {
        "review": review,
        # The tab states the same reading as the page.
        "open_now": {(lookup.table.label, lookup.legacy): len(review.open)}
        if review.mapped
        else {},
        "counts": counts,
        "count_seconds": COUNT_SECONDS,
        "values": values,
        "matching": len(chosen),
        "names": review.most_used(MAX_NAMES_OFFERED),
        "alike": [(group, to_carry(group.decisions)) for group in alike],
        "similarities": choices,
        "similarity": min(
            (c.similarity for c in choices if c.similarity >= DEFAULT_SIMILARITY), default=None
        ),
        **_to_confirm(chosen),
        "rows": rows_of(on_page, suggestions, asked, problems),
        "problems": problems.values(),
        "carried": to_carry({f: d for f, d in asked.items() if f not in shown or d.by_default}),
    }
    response = render(request, "rollout/mapping.html", page, status=status)
    return remembering(response, request, rollout, lookup, counts.mark)


def _to_confirm(shown: Sequence[Value]) -> dict[str, object]:
    to_confirm = (value for value in shown if not value.reviewer and value.confirmed is not None)
    open_values = list(islice(to_confirm, MAX_CONFIRMED + 1))
    if len(open_values) > MAX_CONFIRMED:
        return {"open_shown": 0}
    return {"open_shown": len(open_values), "marks": marks_of(v.normal for v in open_values)}


def _undo(change: MappingChange) -> str:
    """The decisions before a review, to preview."""
    return to_carry({form: Decision(name, by_default) for form, name, by_default in change.earlier})
