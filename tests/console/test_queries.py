"""A page sends a number of queries that does not grow with the data.

Opened by a lead by group of the one environment, whose permissions are looked up; a superuser's
are not. What gates keep for seconds is asked again.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from psycopg.sql import Composable

from rollout.console.http import sessions
from rollout.gates import cached_queries
from rollout.models import (
    ACTIVE,
    BackfillEstimate,
    BackfillJob,
    Heartbeat,
    Rollout,
    RuleState,
    ScheduledStart,
    ShadowTally,
)
from rollout.plan import plans
from tests.console import journal
from tests.console.http.test_access import OF_NO_ENVIRONMENT, last_part
from tests.console.views.backfill_jobs import a_lane, measured, page_of, refused
from tests.support.pages import addresses_of_the_console
from tests.support.servers import Database

# The page of a rollout whose phase is at work sends the most: each kind of evidence is a query, and
# its header asks for what runs, what waits for people and the environments. Every page counts its
# reader's inbox.
MAX_QUERIES = 48
UNCOUNTED = ("SET ", 'UPDATE "django_session"')
ON_DEMAND = ("preflight", "readiness", "locks", "new")
"""Last parts of addresses that a page asks for by itself, or when somebody presses."""
Leads = dict[str, Client]
"""The browser of a lead of everything, and the one of a lead of production."""


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every statement that goes to PostgreSQL, by whatever connection, but for settings.

    And but for the time a session was last seen, which is written once a minute.
    """
    sent: list[str] = []

    def counting(execute: Callable[..., Any]) -> Callable[..., Any]:
        def counted(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            text = query.decode() if isinstance(query, bytes) else str(query)
            if isinstance(query, Composable):
                text = query.as_string()
            if not (text.startswith(UNCOUNTED) or "set_config(" in text):
                sent.append(text)
            return execute(self, query, *args, **kwargs)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for cursor in (psycopg.Cursor, psycopg.ServerCursor):
            patch.setattr(cursor, "execute", counting(cursor.execute))
        yield sent


def opened(browser: Client, address: str, **headers: str) -> list[str]:
    """What a page asks by itself: without what the process has learnt, or asked seconds ago."""
    cached_queries.invalidate()
    cache.clear()
    with counted() as sent:
        response = browser.get(address, headers=headers)
    assert response.status_code == 200, address
    # What a template does not find becomes an empty text.
    assert not re.search(r'(href|action|hx-get)=""', response.content.decode()), address
    return sent


def queries_of(leads: Leads, pages: list[str], **headers: str) -> dict[str, list[str]]:
    return {address: opened(leads[of_role(address)], address, **headers) for address in pages}


def of_role(address: str) -> str:
    """A lead of production, or of everything where the page is of no environment."""
    everywhere = address.removeprefix("/rollout/").startswith(OF_NO_ENVIRONMENT)
    return "lead" if everywhere else "lead:production"


def pages_of(rollout: Rollout) -> list[str]:
    """The console's pages, and those of each phase."""
    of_phases = [
        f"{journal.PAGE}phases/{number}/{more}"
        for number in range(5)
        for more in ("", "start/", "roll-back/")
    ]
    addresses = ["/rollout/", *addresses_of_the_console(rollout), *of_phases]
    return [address for address in dict.fromkeys(addresses) if last_part(address) not in ON_DEMAND]


def more(rollout: Rollout) -> None:
    """More of everything that lists show."""
    for number in range(6):
        run = journal.ran(rollout, 1, "failed", error=f"no {number}")
        step = journal.reached(run, "add-property-columns", "failed", error=f"no {number}")
        journal.ended_job(step)
        report = journal.audited(rollout, "mismatched", mismatched=1, stored_mismatches=1)
        journal.mismatching(report, str(number))
        journal.restored(journal.taken(rollout), state="done")
        journal.reviewed(rollout)
        journal.delivery(journal.noted(rollout))
    # The phase stands as it did: one that failed is looked at more closely.
    journal.ran(rollout, 1)


def much_goes_on(rollout: Rollout) -> None:
    """Beside the phases: people asked and signed, a start waits, rules fired, copies are made."""
    plan, now = plans.get(rollout.plan), timezone.now()
    journal.processes_run()
    Heartbeat.objects.update(seen_at=now)
    journal.probed(rollout)
    journal.signed(rollout, "tick", phase=0, subject=plan.checklist[0].id)
    for phase in (3, 4):
        journal.signed(rollout, "request", phase=phase)
        journal.signed(rollout, by="ada", phase=phase)
        journal.signed(rollout, "override", phase=phase, subject="no-drift", reason="It is late.")
        confirmed: dict[str, Any] = {"confirmed_by_name": "ada", "confirmed_at": now}
        journal.signed(rollout, "override", phase=phase, subject="soak", reason="So.", **confirmed)
    ScheduledStart.objects.create(
        rollout=rollout,
        phase=3,
        at=now + timedelta(hours=3),
        zone="UTC",
        actor=User.objects.get(username="lead:production"),
        actor_name="lead:production",
        phase_digest=plan.digest_of(3),
    )
    for rule in plan.all_guardrails:
        RuleState.objects.create(
            rollout=rollout,
            rule=rule.id,
            action=rule.action,
            verdict="broken",
            since=now,
            judged_at=now,
            last_broken_at=now,
            acting=True,
            message="It is too slow.",
        )
    ShadowTally.objects.create(
        rollout=rollout, at=now, seconds=10, operation="search", compared=9, same=8, differed=1
    )
    for phase in range(5):
        BackfillEstimate.objects.create(rollout=rollout, phase=phase, step="backfill", position=0)
    snapshot = journal.taken(rollout)
    journal.taken(rollout, "taking")
    journal.rehearsed(snapshot)
    journal.rehearsed(snapshot, "running", database="ready")
    report = journal.audited(rollout, "mismatched", mismatched=1, stored_mismatches=1)
    journal.mismatching(report, "1")
    journal.audited(rollout, "running")
    journal.delivery(journal.noted(rollout))


def at_work(rollout: Rollout, phase: int, state: str) -> None:
    """Every phase before it is done, and it is under way, or stopped, with all it can have."""
    rollout.runs.filter(state__in=ACTIVE).update(state="cancelled")
    for before in range(phase):
        journal.ran(rollout, before)
    run = journal.ran(rollout, phase, state, error="no" if state == "failed" else "")
    steps = plans.get(rollout.plan).phases[phase].steps
    for step in steps[:-1]:
        journal.ended_job(journal.reached(run, step.id))
    journal.job_of(journal.reached(run, steps[-1].id, "failed" if state == "failed" else "running"))
    journal.audited(rollout, run=run)


def goes_on(job: BackfillJob, lane: int) -> None:
    """A job's worker counts, loses time, and puts rows in quarantine."""
    a_lane(job, lane=lane)
    measured(job, 3, lost=1.0, earlier=100 * lane)
    refused(job, *(f"{lane}-{number}" for number in range(1 + lane)))


def _more(before: list[str], after: list[str]) -> list[str]:
    """The statements that came more often than before."""
    return list((Counter(after) - Counter(before)).elements())


@pytest.fixture
def leads(committed_db: Database, monkeypatch: pytest.MonkeyPatch) -> Leads:
    # A slow run takes minutes, and a session that is used for as long is saved.
    monkeypatch.setattr(sessions, "SEEN_EVERY_SECONDS", 3600)
    return {name: journal.browser_of(name) for name in ("lead", "lead:production")}


@pytest.mark.slow
def test_every_page_asks_a_bounded_number_of_times_whatever_runs_and_however_much(
    leads: Leads,
) -> None:
    rollout = journal.the_rollout()
    pages = pages_of(rollout)
    queries_of(leads, pages)  # What a process learns once.
    much_goes_on(rollout)
    asked: dict[str, dict[str, list[str]]] = {}
    # Pages of one object have of the phase what the header says, which the rollout's own have too.
    of_the_rollout = [page for page in pages if page.startswith(("/rollout/inbox/", journal.PAGE))]
    for phase, state in [(0, "done"), (1, "failed"), (3, "done"), (4, "running"), (2, "running")]:
        at_work(rollout, phase, state)
        asked[f"phase {phase}, {state}"] = queries_of(leads, of_the_rollout)
    job = BackfillJob.objects.get(step_run__run__state="running", finished_at=None)
    pages.append(page_of(job))
    goes_on(job, lane=0)
    before = asked["a job at work"] = queries_of(leads, pages)
    asked["a job at work, refreshed"] = queries_of(leads, pages, **journal.HTMX)
    more(rollout)
    for lane in range(1, 5):
        goes_on(job, lane)
    after = asked["with more of everything"] = queries_of(leads, pages)
    grown = {a: _more(before[a], after[a]) for a in pages if len(after[a]) > len(before[a])}
    assert not grown
    many = [
        f"{len(sent)} of {address} in {when}\n" + "\n".join(sent)
        for when, of_pages in asked.items()
        for address, sent in of_pages.items()
        if len(sent) > MAX_QUERIES
    ]
    assert not many, "\n\n".join(many)
