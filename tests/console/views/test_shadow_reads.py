"""Shadow reads on the monitoring page, and the share of reads that are compared."""

import pytest
from django.utils import timezone

from rollout.models import LogEntry, Rollout, ShadowTally
from tests.console.journal import PAGE, browser_of, noted, text_of

pytestmark = pytest.mark.django_db
ADDRESS = f"{PAGE}monitoring/"


def test_shadow_reads_are_listed_by_operation_and_a_lead_sets_their_share(rollout: Rollout) -> None:
    ShadowTally.objects.create(
        rollout=rollout,
        at=timezone.now(),
        seconds=10,
        operation="search",
        compared=40,
        same=30,
        mapped=6,
        unfilled=3,
        differed=3,
        failed=1,
        error="<b>timeout</b>",
        old_durations={"-30": 40},
        new_durations={"-23": 40},
    )
    noted(rollout, "shadow read differs", data={"report": 77})
    page = " ".join(text_of(browser_of("viewer"), ADDRESS).split())
    assert "/audits/77/" in page
    assert "6 mapped to another name" in page
    assert "3 not backfilled yet" in page
    assert "&lt;b&gt;timeout" in page
    assert "Set</button>" not in page
    lead = browser_of("lead")
    for percent, status in (("7.5", "7.5 %"), ("101", "0 to 100"), ("", "Enter a percentage")):
        answer = lead.post(f"{PAGE}shadow/", {"percent": percent, "next": ADDRESS}, follow=True)
        assert status in answer.content.decode()
    rollout.refresh_from_db()
    assert rollout.shadow_percent == 7.5
    same = lead.post(f"{PAGE}shadow/", {"percent": "7.50", "next": ADDRESS}, follow=True)
    assert "Shadow read sample rate set to 7.5 %." in same.content.decode()
    for percent in ("1e-321", "0.0009"):
        answer = lead.post(f"{PAGE}shadow/", {"percent": percent, "next": ADDRESS}, follow=True)
        assert "The smallest sample rate is 0.001 %." in answer.content.decode()
    rollout.refresh_from_db()
    assert rollout.shadow_percent == 7.5
    # The share that it had already is no news.
    entry = LogEntry.objects.get(event="shadow share changed")
    assert (entry.actor, entry.data) == ("lead", {"before": 1.0, "after": 7.5})
