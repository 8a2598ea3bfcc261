"""Errors lead to the runbook: to where the documents are served, else to the console's own page."""

from typing import Any

import pytest

from rollout.console.http.links import runbook, runbook_links, runbook_of_gate

DOCS = "https://docs.example/rollout/"
PAGE = "https://docs.example/rollout/runbook.html"
OWN = '<a href="/rollout/runbook/#a-disk-is-full">A disk is full</a>'


def test_an_entry_is_a_link_to_the_consoles_own_page() -> None:
    assert runbook("a-disk-is-full") == f"Runbook: {OWN}"
    assert runbook_links("Retry. Runbook: A disk is full.") == f"Retry. Runbook: {OWN}."


def test_an_entry_with_an_address_is_a_link(settings: Any) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "DOCS_URL": DOCS}
    link = f'<a href="{PAGE}#a-disk-is-full">A disk is full</a>'
    assert runbook("a-disk-is-full") == f"Runbook: {link}"
    assert runbook_links("<b> Runbook: A disk is full.") == f"&lt;b&gt; Runbook: {link}."


@pytest.mark.parametrize("address", ["javascript:alert(1)", "docs.example", "//docs.example"])
def test_an_address_not_of_the_web_is_left_out(settings: Any, address: str) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "DOCS_URL": address}
    assert runbook("a-disk-is-full") == f"Runbook: {OWN}"


def test_a_gate_that_waits_for_people_leads_nowhere() -> None:
    assert ">An audit found mismatches</a>." in runbook_of_gate("audit clean")
    assert runbook_of_gate("approved") == ""
