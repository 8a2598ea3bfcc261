"""Errors lead to the runbook: a link where the documents are served, else the entry's name."""

from typing import Any

import psycopg
import pytest

from rollout.console.http.links import runbook, runbook_links, runbook_of_gate
from rollout.engine import ddl
from rollout.journal.runbook import Entry
from rollout.worker.failures import ENTRIES, entry_for

DOCS = "https://docs.example/rollout/"
PAGE = "https://docs.example/rollout/runbook.html"


def test_an_entry_without_an_address_is_named() -> None:
    assert runbook("a-disk-is-full") == "Runbook: A disk is full"
    assert runbook_links("Retry. Runbook: A disk is full.") == "Retry. Runbook: A disk is full."


def test_an_entry_with_an_address_is_a_link(settings: Any) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "DOCS_URL": DOCS}
    link = f'<a href="{PAGE}#a-disk-is-full">A disk is full</a>'
    assert runbook("a-disk-is-full") == f"Runbook: {link}"
    assert runbook_links("<b> Runbook: A disk is full.") == f"&lt;b&gt; Runbook: {link}."


@pytest.mark.parametrize("address", ["javascript:alert(1)", "docs.example", "//docs.example"])
def test_an_address_not_of_the_web_makes_no_link(settings: Any, address: str) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "DOCS_URL": address}
    assert runbook("a-disk-is-full") == "Runbook: A disk is full"


def test_a_gate_that_waits_for_people_leads_nowhere() -> None:
    assert runbook_of_gate("audit clean") == "Runbook: An audit found mismatches."
    assert runbook_of_gate("approved") == ""


def test_an_error_leads_to_the_first_entry_that_fits_or_to_the_phase() -> None:
    assert entry_for(psycopg.errors.NotNullViolation(), backward=False) == Entry.BUILD_FAILED
    assert entry_for(ddl.RowsInTheWay("7 rows."), backward=False) == Entry.BUILD_FAILED
    assert entry_for(psycopg.errors.DiskFull(), backward=True) == Entry.DISK_FULL
    assert entry_for(ddl.LockNotObtained("It waits."), backward=True) == Entry.LOCK
    assert entry_for(ValueError(), backward=False) == Entry.PHASE_FAILED
    assert entry_for(ValueError(), backward=True) == Entry.HALF_WAY
    kinds = [kind for kind, _ in ENTRIES]
    assert not [k for at, k in enumerate(kinds) if any(issubclass(k, e) for e in kinds[:at])]
