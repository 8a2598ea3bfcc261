"""A rollout that is complete."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from rollout.models import Measurement, Rollout
from tests.console import journal
from tests.console.journal import PAGE, ran, text_of
from tests.support.offers import offers


def test_a_complete_rollout_says_what_can_be_removed_and_who_did_what(
    rollout: Rollout, viewer: Client
) -> None:
    for phase in range(5):
        run = ran(rollout, phase)
        if phase > 2:
            journal.signed(rollout, phase=phase, by="ada", run=run)
        assert ("Cleanup once no rollback is needed" in text_of(viewer, PAGE)) == (phase == 4)
    text = text_of(viewer, PAGE)
    assert "Rollout complete" in text
    assert "<code>properties.type</code>, <code>properties.status</code>" in text
    assert "rollout.property-classification_properties_archive" in text
    assert "No measured operation asked for modes in the last hour." in text
    assert "No verified snapshot is left." in text
    records = text.split('<table class="who-did-what stacked">')[1].split("</table>")[0]
    assert records.count(">grace</td>") == 5
    assert records.count(">ada</td>") == 2
    Measurement.objects.create(
        at=timezone.now(), seconds=5, operation="search", plan=rollout.plan, calls=3
    )
    journal.rehearsed(journal.taken(rollout))
    text = text_of(viewer, PAGE)
    assert re.search(r"Still asking for modes in the last hour:</strong>\s+search \(", text)
    assert f"Snapshot {rollout.snapshots.get().pk}</a> expires" in text
    records = text.split('<table class="who-did-what stacked">')[1].split("</table>")[0]
    assert re.search(
        r"1 Expand.*?<td class=\"number nowrap\" data-label=\"Duration\">[\d.]+ m?s</td>",
        records,
        re.S,
    )
    assert "Complete" in text_of(viewer, "/rollout/")


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_a_complete_rollout_names_the_columns_that_a_conversion_dropped() -> None:
    rollout = offers()
    for phase in range(5):
        ran(rollout, phase)
    Measurement.objects.create(
        at=timezone.now(), seconds=5, operation="search", plan="another", calls=3
    )
    text = text_of(journal.browser_of("viewer"), rollout.get_absolute_url())
    assert "They are <code>offer.price</code>, <code>offer.note</code>" in text
    assert "No measured operation asked for modes in the last hour." in text
