"""The preflight as pages show it: it comes after the page, and stands alone without scripts."""

import pytest
from django.test import Client

from rollout.models import Rollout
from tests.console.journal import PAGE, fragment_of, ran, ready_for_phase_1, text_of
from tests.support import rollouts


def test_the_page_that_asks_before_a_start_has_the_preflight_come_after_it(
    rollout: Rollout, lead: Client
) -> None:
    ready_for_phase_1(rollout)
    text = text_of(lead, f"{PAGE}phases/1/start/")
    address = f"{PAGE}phases/1/preflight/"
    assert f'hx-get="{address}" hx-trigger="load"' in text
    assert f'href="{address}"' in text
    assert text.index("Start phase 1 in production") < text.index('id="preflight"')
    assert "Lock forecast" not in text


def test_only_the_page_of_the_phase_that_is_due_has_it(rollout: Rollout, viewer: Client) -> None:
    ran(rollout, 0)
    assert 'id="preflight"' in text_of(viewer, f"{PAGE}phases/1/")
    assert 'id="preflight"' not in text_of(viewer, f"{PAGE}phases/0/")
    assert 'id="preflight"' not in text_of(viewer, f"{PAGE}phases/2/")


def test_the_preflight_shows_each_item_and_the_locks(rollout: Rollout, viewer: Client) -> None:
    ran(rollout, 0)
    fragment = fragment_of(viewer, f"{PAGE}phases/1/preflight/")
    assert "<html" not in fragment
    assert "All checks passed for phase 1." in fragment or "No blockers." in fragment
    assert "0 blocking" not in fragment
    assert "Prepared transactions" in fragment
    assert "ACCESS EXCLUSIVE" in fragment
    assert "<code>add-property-columns</code>" in fragment
    assert "Run again" in fragment


def test_locks_that_block_the_application_are_reported_before_the_closed_list_of_all(
    rollout: Rollout, viewer: Client
) -> None:
    ran(rollout, 0)
    fragment = fragment_of(viewer, f"{PAGE}phases/1/preflight/")
    forecast = fragment.partition("Lock forecast</h3>")[2]
    summary, closed, every = forecast.partition('<details class="passed"><summary>All locks')
    assert closed
    assert "<strong>ACCESS EXCLUSIVE</strong> on <code>properties</code>" in summary
    assert "blocks reads and writes, held for" in summary
    assert "; waits ≤ 2 s" in summary
    assert "<table" not in summary
    assert "<code>add-property-columns</code>" in every


def test_the_preflight_without_scripts_is_a_page(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, f"{PAGE}phases/0/preflight/")
    assert "<h1>Preflight of phase 0: Prepare</h1>" in text
    assert "No locks on application tables." in text


def test_the_locks_of_a_rollback_come_after_its_page_too(rollout: Rollout, lead: Client) -> None:
    for phase in range(4):
        ran(rollout, phase)
    address = f"{PAGE}phases/3/roll-back/locks/"
    assert f'hx-get="{address}"' in text_of(lead, f"{PAGE}phases/3/roll-back/")
    fragment = fragment_of(lead, address)
    both = "<code>properties</code>, <code>property_types</code>"
    assert both in fragment
    assert "Locks of the rollback of phase 3" in text_of(lead, address)


def test_readiness_is_linked_from_the_page_of_the_rollout_and_tells_the_phase_of_each_finding(
    rollout: Rollout, viewer: Client
) -> None:
    assert f'href="{PAGE}readiness/"' in text_of(viewer, PAGE)
    # Committed, so that the session that looks can see it.
    with rollouts.target() as other:
        other.execute("CREATE VIEW of_a_report AS SELECT id, type FROM properties")
        try:
            text = text_of(viewer, f"{PAGE}readiness/")
        finally:
            other.execute("DROP VIEW of_a_report")
    assert "<h1>Readiness</h1>" in text
    assert "1 blocking" in text
    finding = text.partition("Dependents of properties (type, status)")[2]
    assert '<span class="badge square">Phase 4</span>' in finding.partition("</li>")[0]
    assert "Checks left to later preflights" in text


@pytest.mark.parametrize("address", ["phases/1/preflight/", "schema/", "readiness/"])
def test_a_stranger_is_sent_to_log_in(rollout: Rollout, client: Client, address: str) -> None:
    assert client.get(f"{PAGE}{address}").status_code == 302
