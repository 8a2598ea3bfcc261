"""Rows of each kind of list, and the pages that show them."""

import re
from collections.abc import Callable
from html import unescape

from django.test import Client

from rollout.models import (
    LogEntry,
    Rollout,
)
from tests.console import journal
from tests.console.journal import PAGE, text_of

AUDITS, SNAPSHOTS, REHEARSALS, JOBS = (
    f"{PAGE}{name}/" for name in ("audits", "snapshots", "rehearsals", "jobs")
)

LOG, NOTIFICATIONS = "/rollout/log/", "/rollout/notifications/"


def an_audit(rollout: Rollout, number: int) -> str:
    return f"Audit {journal.audited(rollout, 'mismatched', mismatched=number).pk}<"


def a_snapshot(rollout: Rollout, number: int) -> str:
    return f"Snapshot {journal.taken(rollout, size=number).pk}<"


def a_rehearsal(rollout: Rollout, number: int) -> str:
    snapshot = journal.taken(rollout)
    return f"Rehearsal {journal.rehearsed(snapshot, rows=number).pk}<"


def a_job(rollout: Rollout, number: int) -> str:
    run = journal.ran(rollout, 2, "failed")
    job = journal.ended_job(journal.reached(run, "backfill", "failed"), scanned=number)
    return f"Backfill {job.pk}<"


def an_entry(rollout: Rollout, number: int) -> str:
    return journal.noted(rollout, message=f"Entry of {number}.").message


def a_delivery(rollout: Rollout, number: int) -> str:
    entry = journal.noted(rollout, f"Event {LogEntry.objects.count()}.")
    journal.delivery(entry, attempts=number)
    return entry.event


Maker = Callable[[Rollout, int], str]

BY_NUMBER = [
    (AUDITS, an_audit, "most-mismatches", "fewest-mismatches"),
    (SNAPSHOTS, a_snapshot, "largest", "smallest"),
    (REHEARSALS, a_rehearsal, "most-rows", "fewest-rows"),
    (NOTIFICATIONS, a_delivery, "most-attempts", "fewest-attempts"),
    (JOBS, a_job, "most-rows", "fewest-rows"),
]

MAKERS = [(address, make) for address, make, *_ in BY_NUMBER] + [(LOG, an_entry)]


def make_of(address: str) -> Maker:
    return dict(MAKERS)[address]


def shown_in(pages: list[str], names: list[str]) -> list[str]:
    """The names in the order in which the pages show them."""
    text = "".join(pages)
    return sorted((name for name in names if name in text), key=text.index)


def all_pages(browser: Client, address: str, **query: str) -> list[str]:
    """Every page of a list, by its links to the next one."""
    pages = [text_of(browser, address, **query)]
    while link := re.search(r'rel="next" href="([^"#]*)', pages[-1]):
        pages.append(text_of(browser, f"{address}{unescape(link[1])}"))
    return pages
