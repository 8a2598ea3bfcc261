"""The rows of the list of rollouts: state, health, what each waits for, and the last activity.

A number of queries that does not grow with the number of rollouts, but for jobs that are running,
mappings that wait for a review, and the gates of a few.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

from django.db.models import OuterRef, Subquery

from rollout.console.alerts import Alert, alerts_of
from rollout.console.approvals import approvals_of, overrides_of, rejections_of, requests_of
from rollout.console.formats import waiting
from rollout.console.guardrails import rules_of
from rollout.console.http.links import rollout_url
from rollout.console.rollout_states import RolloutState, evidence_of, states_of
from rollout.gates import check_gates
from rollout.journal.moments import by_the_database, in_words
from rollout.logs.texts import counted
from rollout.models import (
    REHEARSAL_UNDER_WAY,
    AuditReport,
    AuditStatus,
    LogEntry,
    Rehearsal,
    Rollout,
    RuleState,
    RunState,
    SignOff,
    Snapshot,
    SnapshotState,
)
from rollout.queries.holds import releases_of
from rollout.queries.inboxes import audits_to_repair, cure_of, cure_url, reviews_of
from rollout.queries.row_updates import updates_of
from rollout.queries.status import RolloutSummary
from rollout.queries.stops import stop_of_run
from rollout.queries.waits import Waiting

# The order of the index: by the id alone, a rollout without entries would read all others'.
INDEX_ORDER = ("plan", "environment", "-id")

# Of so many rollouts that wait for nothing else the list checks the gates: each takes queries.
MAX_CHECKED = 3
# Both roles may decide about values and repair rows.
_REVIEWERS = "An engineer or a lead"

OfRollout = TypeVar("OfRollout", AuditReport, RuleState, SignOff, Snapshot)


@dataclass(frozen=True)
class OverviewRow:
    state: RolloutState
    alerts: list[Alert]
    waits: str
    """The role or process that has to act next; empty while none has to."""
    url: str
    """The page on which they do."""
    last: LogEntry | None


def rows_of(summaries: Sequence[RolloutSummary]) -> list[OverviewRow]:
    rollouts = [summary.rollout for summary in summaries]
    finished = AuditReport.objects.exclude(status=AuditStatus.RUNNING).defer("translations")
    audits = _by_rollout(
        finished.filter(rollout__in=rollouts).order_by("rollout", "-id").distinct("rollout")
    )
    rules = _by_rollout(RuleState.objects.filter(rollout__in=rollouts))
    snapshots = _by_rollout(
        Snapshot.objects.filter(
            rollout__in=rollouts, state__in=(SnapshotState.VERIFIED, SnapshotState.FAILED)
        ).only("state", "sha256", "verified_at", "rollout_id")
    )
    sign_offs = _by_rollout(SignOff.objects.filter(rollout__in=rollouts, withdrawn_at=None))
    to_repair = {audit.rollout_id: audit for audit in audits_to_repair(rollout__in=rollouts)}
    runs = sorted(
        (run for summary in summaries for run in summary.runs.values()), key=attrgetter("pk")
    )
    people = (*updates_of(runs, lambda *_: True), *reviews_of(runs, lambda *_: True))
    reviews = {item.rollout.pk: item for item in people}
    releases = {item.rollout.pk: item for item in releases_of(runs, lambda *_: True)}
    under_way = Rehearsal.objects.filter(rollout__in=rollouts, state__in=REHEARSAL_UNDER_WAY)
    rehearsals = {rehearsal.rollout_id: rehearsal for rehearsal in under_way}
    last = last_entries(rollouts)
    now = by_the_database()
    rows = []
    checked: list[Rollout] = []
    for state in states_of(summaries):
        rollout, key = state.status.rollout, state.status.rollout.pk
        waits, url = _waits_for(
            *(state, sign_offs[key], now),
            audit=to_repair.get(key),
            review=reviews.get(key),
            release=releases.get(key),
            rehearsals=rehearsals,
            checked=checked,
        )
        own_rules = rules_of(rollout, rules[key])
        known = next(iter(audits[key]), None), to_repair.get(key)
        alerts = alerts_of(state.status, own_rules, known, snapshots[key], state.step)
        rows.append(OverviewRow(state, alerts, waits, url, last.get(key)))
    return rows


def _by_rollout(rows: Iterable[OfRollout]) -> dict[int, list[OfRollout]]:
    of_rollouts: dict[int, list[OfRollout]] = defaultdict(list)
    for row in rows:
        of_rollouts[row.rollout_id].append(row)
    return of_rollouts


def _waits_for(
    state: RolloutState,
    sign_offs: list[SignOff],
    now: datetime,
    *,
    audit: AuditReport | None,
    review: Waiting | None,
    release: Waiting | None,
    rehearsals: Mapping[int, Rehearsal],
    checked: list[Rollout],
) -> tuple[str, str]:
    """What a rollout waits for, and the page of it: what the inboxes of those have, if anybody.

    ``audit`` has rows to repair, ``review`` is one that the gates before phase 3 wait for, or the
    update of the rows that have to follow one; ``release`` ends a hold. ``checked`` are the
    rollouts whose gates were asked, after ``MAX_CHECKED`` no others are.
    """
    status, run, here = state.status, state.run, state.status.rollout.get_absolute_url()
    if run is not None:
        page = run.get_absolute_url()
        if stop := stop_of_run(run):
            if review is not None and run.state == RunState.FAILED:
                return _asked_of(_REVIEWERS, review)
            return stop.waits, page
        if run.state == RunState.QUEUED:
            return "A worker", page
        reason = state.step.waiting_for if state.step is not None else ""
        text = waiting(reason).removeprefix("Waiting for ") if reason else ""
        return text[:1].upper() + text[1:], page
    if audit is not None:
        cure = cure_of(audit)
        return f"{_REVIEWERS} to {cure[:1].lower()}{cure[1:]}", cure_url(audit)
    if status.next_phase is None:
        return "", here
    page = rollout_url(status.rollout, "phase", status.next_phase)
    evidence = evidence_of(status)
    # Read for all rollouts at once.
    evidence.facts.sign_offs, evidence.facts.now = sign_offs, now
    if rejections := rejections_of(evidence):
        by = rejections[0].actor_name
        start = rollout_url(status.rollout, "start", status.next_phase)
        return f"Approval of phase {status.next_phase} rejected by {by}", f"{start}#approvals"
    if requests := requests_of(evidence):
        asker = requests[0].actor_name
        return f"Approval of phase {status.next_phase}, requested by {asker}", page
    if any(override.waits for override in overrides_of(evidence)):
        return "A second lead to confirm an override", here
    if review is not None:
        return _asked_of(_REVIEWERS, review)
    if release is not None:
        return _asked_of("A lead", release)
    if (to_come := status.rollout.start_to_come) is not None:
        return f"Scheduled start of phase {to_come.phase} at {in_words(to_come.at)}", page
    approvers = {view.sign_off.actor_name for view in approvals_of(evidence) if not view.void}
    if approvers:
        others = f" other than {approvers.pop()}" if len(approvers) == 1 else ""
        return f"A lead{others} to start phase {status.next_phase}", page
    if (rehearsal := rehearsals.get(status.rollout.pk)) is not None:
        return f"Rehearsal {rehearsal.pk} to finish", rehearsal.get_absolute_url()
    # Nobody has been asked by name.
    number = status.next_phase
    if not evidence.gates:
        return f"A lead to start phase {number}", page
    if len(checked) >= MAX_CHECKED:
        return f"A lead to start phase {number} once its gates have passed", page
    checked.append(status.rollout)
    waiting_gates = [gate for gate in check_gates(evidence) if not gate.lets_through]
    if not waiting_gates:
        return f"A lead to start phase {number}", page
    first, *behind = waiting_gates
    more = f" and {counted(len(behind), 'more gate')}" if behind else ""
    return f"Gate “{first.label}”{more} before phase {number}", page


def _asked_of(who: str, item: Waiting) -> tuple[str, str]:
    return f"{who} to {item.what[:1].lower()}{item.what[1:]}", item.url


def last_entries(rollouts: list[Rollout]) -> dict[int, LogEntry]:
    """The newest entry of the activity log of each, by the rollout's key."""
    # By the time: in the order of ids PostgreSQL reads the log of all to find none of one rollout.
    entries = LogEntry.objects.filter(
        plan=OuterRef("plan"), environment=OuterRef("environment")
    ).order_by("-at", "-id")
    newest = Rollout.objects.filter(pk__in=[rollout.pk for rollout in rollouts])
    keys = dict(newest.values_list("pk", Subquery(entries.values("pk")[:1])))
    by_key = LogEntry.objects.in_bulk([key for key in keys.values() if key is not None])
    return {rollout: by_key[key] for rollout, key in keys.items() if key is not None}
