"""A page has one zone, that of its reader, in its tables as in its sentences."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client

from rollout.journal.moments import in_words
from rollout.models import Heartbeat, Rollout, ScheduledStart, Snapshot
from tests.console import journal
from tests.console.journal import PAGE, browser_of
from tests.console.test_queries import at_work, much_goes_on, pages_of

pytestmark = pytest.mark.django_db

TITLE = re.compile(r'(title|datetime|data-\w+|value|href)="[^"]*"')
IN_UTC = re.compile(r"[^>]{0,60}\d\d:\d\d(?::\d\d)? UTC")
SINCE = datetime(2026, 3, 1, 12, 0, 41, tzinfo=UTC)


def zones_astray(browser: Client, address: str) -> list[str]:
    """Moments in UTC that a page shows to somebody in Tokyo."""
    text = TITLE.sub("", browser.get(address).content.decode())
    text = re.sub(r"<(pre|script)\b.*?</\1>", "", text, flags=re.S)
    return IN_UTC.findall(text)


@pytest.mark.slow
def test_no_page_names_a_moment_in_another_zone_than_its_readers(rollout: Rollout) -> None:
    browser_of("lead:production")
    at_work(rollout, 3, "failed")
    much_goes_on(rollout)
    # The zone of a scheduled start is that in which people gave it.
    ScheduledStart.objects.all().delete()
    Heartbeat.objects.update(seen_at=SINCE)
    Snapshot.objects.filter(state="verified").update(taken_at=SINCE)
    journal.noted(rollout, "approved", message=f"Approved phase 3, until {in_words(SINCE)}.")
    journal.noted(rollout, "approved", message="Approved phase 4, until 2026-03-01 12:00 UTC.")
    lead = browser_of("lead")
    lead.cookies["zone"] = "Asia%2FTokyo"
    pages = [*pages_of(rollout), "/rollout/log/"]
    assert {page: astray for page in pages if (astray := zones_astray(lead, page))} == {}
    log = lead.get("/rollout/log/").content.decode()
    assert "1 Mar 2026, 21:00:41 JST</time>." in log
    assert "1 Mar 2026, 21:00 JST</time>." in log
    assert "1 Mar 2026, 21:00:41 JST" in lead.get(PAGE).content.decode(), "the worker was seen"
