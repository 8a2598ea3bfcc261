"""Errors lead to the runbook: a link where the documents are served, else the entry's name."""

from typing import Any

import pytest

from rollout.console.http.links import runbook, runbook_links, runbook_of_gate

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
