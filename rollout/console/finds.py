"""Finds pages, a rollout's next action, objects by number, rows by key, entries of the runbook,
terms of the glossary, legacy values."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice

import psycopg
from django.db.models import Model
from django.urls import reverse
from django.utils.http import urlencode

from rollout.console.badges import PENDING
from rollout.console.documents import chapters
from rollout.console.headers import TABS
from rollout.console.http.inputs import number_in
from rollout.console.http.links import rollout_url, runbook_url
from rollout.engine import mapping
from rollout.engine.catalog import tables_of
from rollout.engine.target import Connection
from rollout.engine.value_previews import values_with
from rollout.journal.environments import target_of
from rollout.journal.runbook import Entry
from rollout.models import AuditReport, BackfillJob, Finding, Rehearsal, Rollout, Snapshot
from rollout.plan.plan import BACKFILL, PREPARE, Plan
from rollout.queries.inboxes import audits_to_repair, cure_of, cure_url
from rollout.queries.status import RolloutSummary

MAX_RESULTS = 40
MAX_ROWS = 10
# Maximum values of each lookup. A text of one character is in nearly every value.
MAX_VALUES = 5
SHORTEST_TEXT = 2
# Somebody types: what a database does not answer at once is left out.
VALUES_SECONDS = 1
# The pages of a rollout but for its phases: URL name, label, and words that are not in the label
# but that people look for it by.
PAGES = (
    (
        "rollout",
        TABS["rollout"].label,
        "health data timeline guide checklist pause resume cancel retry roll back",
    ),
    (
        "mappings",
        TABS["mappings"].label,
        "lookups legacy values spellings convert undecided decide",
    ),
    ("jobs", TABS["jobs"].label, "fill compute throttle pace quarantine rows"),
    (
        "audits",
        TABS["audits"].label,
        "mismatches mismatched rows findings repair waive sample conflicts compare",
    ),
    ("snapshots", TABS["snapshots"].label, "dump backup restore"),
    ("rehearsals", TABS["rehearsals"].label, "staging prediction duration locks"),
    (
        "monitoring",
        TABS["monitoring"].label,
        "latency p95 errors guardrails baseline shadow reads database wal",
    ),
    ("schema", TABS["schema"].label, "drift columns tables triggers"),
    ("activity", TABS["activity"].label, "log history export chain"),
    ("readiness", "Readiness", "blockers preflight"),
    ("leftovers", "Transitional code", "leftovers legacy code files"),
)
# Those of no rollout.
PAGES_OF_ALL = (
    ("overview", "Rollouts", "list home"),
    ("inbox", "Inbox", "waiting approvals requests"),
    ("log", "Activity log", "history export chain verify"),
    ("notifications", "Notifications", "mail webhooks deliveries"),
    ("glossary", "Glossary", "terms words meaning help"),
    ("runbook", "Runbook", "errors help incidents"),
)
# What people look for on the page of each phase.
OF_PHASES = "steps gates soak approval approve snapshot schedule override start sql roll back"
# What an object is called, and the lookup of its rollout.
OBJECTS: dict[str, tuple[type[Model], str]] = {
    "audit": (AuditReport, "rollout"),
    "job": (BackfillJob, "step_run__run__rollout"),
    "rehearsal": (Rehearsal, "rollout"),
    "snapshot": (Snapshot, "rollout"),
}
_NUMBERED = re.compile(r"(?:(\w+)\s+)?#?\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Result:
    """A place to go to: its kind, its label, where it belongs."""

    kind: str
    label: str
    belongs_to: str
    url: str


def results_for(text: str, summaries: list[RolloutSummary]) -> list[Result]:
    """Return at most ``MAX_RESULTS`` places of those rollouts that match every word of a text.

    Objects by their number (``audit 4``, ``#4``) and rows by their whole key come first, legacy
    values that contain the text last.
    """
    text = text.strip()
    words = text.lower().split()
    places = (
        result
        for result, also in _places(summaries)
        if all(word in f"{result.label} {result.belongs_to} {also}".lower() for word in words)
    )
    rollouts = [summary.rollout for summary in summaries]
    first = [*_numbered(text, rollouts), *_rows(text, summaries)] if text else []
    entries = (
        Result("Runbook", entry.heading, "", runbook_url(entry))
        for entry in (Entry if words else ())
        if all(word in entry.heading.lower() for word in words)
    )
    terms = (
        Result("Term", term.word, "", f"{reverse('rollout:glossary')}#{term.anchor}")
        for chapter in (chapters() if words else ())
        for term in chapter.terms
        if all(word in term.word.lower() for word in words)
    )
    results = chain(first, places, entries, terms, _values(text, summaries))
    return list(islice(results, MAX_RESULTS))


def _places(summaries: list[RolloutSummary]) -> Iterator[tuple[Result, str]]:
    """Actions and pages, each with the words that it is looked for by besides its own."""
    audits = audits_to_repair(rollout__in=[summary.rollout for summary in summaries])
    to_repair = {audit.rollout_id: audit for audit in audits}
    for summary in summaries:
        rollout = summary.rollout
        belongs_to = f"{summary.plan.title}, {rollout.environment}"
        if audit := to_repair.get(rollout.pk):
            yield Result("Action", cure_of(audit), belongs_to, cure_url(audit)), "mismatches"
        if summary.next_phase is not None and summary.active is None:
            label = f"Start phase {summary.next_phase}: {summary.phases[summary.next_phase].role}"
            url = rollout_url(rollout, "start", summary.next_phase)
            yield Result("Action", label, belongs_to, url), ""
        begun = [phase for phase in summary.phases if phase.state != PENDING]
        if summary.active is None and begun and begun[-1].number > PREPARE:
            label = f"Roll back phase {begun[-1].number}: {begun[-1].role}"
            url = rollout_url(rollout, "roll_back", begun[-1].number)
            yield Result("Action", label, belongs_to, url), "undo"
        for page, label, also in PAGES:
            yield Result("Page", label, belongs_to, rollout_url(rollout, page)), also
        for phase in summary.phases:
            url = rollout_url(rollout, "phase", phase.number)
            yield Result("Page", f"Phase {phase.number}: {phase.role}", belongs_to, url), OF_PHASES
    for page, label, also in PAGES_OF_ALL:
        yield Result("Page", label, "", reverse(f"rollout:{page}")), also


def _numbered(text: str, rollouts: list[Rollout]) -> Iterator[Result]:
    match = _NUMBERED.fullmatch(text)
    number = number_in(match.group(2)) if match else None
    if match is None or number is None:
        return
    for kind, (model, path) in OBJECTS.items():
        if match.group(1) in (None, kind):
            for row in model._default_manager.filter(pk=number, **{f"{path}__in": rollouts}):
                url = row.get_absolute_url()  # type: ignore[attr-defined]
                yield Result(kind.capitalize(), f"{kind.capitalize()} {number}", "", url)


def _rows(key: str, summaries: list[RolloutSummary]) -> Iterator[Result]:
    # With the table, the unique index answers.
    tables = {table for summary in summaries for table in tables_of(summary.plan)}
    findings = Finding.objects.select_related("rollout").filter(
        rollout__in=[summary.rollout for summary in summaries], table__in=tables, key=key
    )
    for finding in findings.order_by("table", "column")[:MAX_ROWS]:
        label = f"{finding.table} {finding.key}, {finding.column}: {finding.get_state_display()}"
        yield Result("Mismatch", label, str(finding.rollout), finding.get_absolute_url())


def _values(text: str, summaries: list[RolloutSummary]) -> Iterator[Result]:
    """The legacy values that contain a text, in the rollouts that have mapped or converted any."""
    if len(text) < SHORTEST_TEXT:
        return
    for summary in summaries:
        rollout, plan = summary.rollout, summary.plan
        if summary.phases[BACKFILL].run is None or not (plan.lookups or plan.reviewed_conversions):
            continue
        matching: list[tuple[str, str, str, str]] = []
        # What was read before an error is there all the same.
        with (
            suppress(psycopg.Error),
            target_of(rollout.environment).connect_briefly(VALUES_SECONDS) as connection,
        ):
            matching.extend(_matching(connection, plan, text))
        for page, table, column, value in matching:
            url = f"{rollout_url(rollout, page, table, column)}?{urlencode({'q': value})}"
            yield Result("Value", f"{value} ({table}.{column})", str(rollout), url)


def _matching(connection: Connection, plan: Plan, text: str) -> Iterator[tuple[str, str, str, str]]:
    """The page, table and column of the values that contain a text, and the value."""
    for lookup in plan.lookups:
        for value in mapping.values_with(connection, plan, lookup, text, most=MAX_VALUES):
            yield "mapping", lookup.table.label, lookup.legacy, value
    for conversion in plan.reviewed_conversions:
        for value in values_with(connection, plan, conversion, text, most=MAX_VALUES):
            yield "values", conversion.table.label, conversion.name, value
