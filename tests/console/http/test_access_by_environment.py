"""Roles of one environment."""

import pytest
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, URLResolver

from rollout.console import urls
from rollout.console.http.access import OBJECTS
from rollout.models import Rollout
from rollout.queries.status import find_rollout
from tests.console import journal


@pytest.mark.usefixtures("two_environments")
def test_a_lead_of_staging_sees_nothing_of_production(rollout: Rollout) -> None:
    journal.noted(rollout, "phase started")
    journal.noted(None, "restored everything")
    staging = find_rollout(journal.PLAN, "staging")
    journal.noted(staging, "phase cancelled")
    browser = journal.browser_of("lead:staging")
    here = f"/rollout/{journal.PLAN}/staging/"
    overview = journal.text_of(browser, "/rollout/")
    assert here in overview
    assert journal.PAGE not in overview
    log = journal.text_of(browser, "/rollout/log/")
    assert "It came to: phase cancelled" in log
    assert "It came to: phase started" not in log
    assert "It came to: restored everything" not in log
    assert browser.get(f"{here}schema/").status_code == 200
    assert browser.get(f"{here}schema/?against=production").status_code == 403


@pytest.mark.usefixtures("two_environments")
def test_a_viewer_everywhere_may_lead_in_staging_alone(rollout: Rollout) -> None:
    browser = journal.browser_of("viewer")
    lead_of_staging, _created = Group.objects.get_or_create(name="lead:staging")
    User.objects.get(username="viewer").groups.add(lead_of_staging)
    journal.ran(rollout, 0, "running")
    journal.ran(find_rollout(journal.PLAN, "staging"), 0, "running")
    assert 'id="verb-cancel"' not in journal.text_of(browser, journal.PAGE)
    assert 'id="verb-cancel"' in journal.text_of(browser, f"/rollout/{journal.PLAN}/staging/")
    refused = browser.post(f"{journal.PAGE}cancel-run/")
    assert refused.status_code == 403
    assert "Requires the lead role in production." in refused.content.decode()


@pytest.mark.usefixtures("two_environments")
def test_two_objects_of_two_environments_are_nobodys_of_one(rollout: Rollout) -> None:
    here = journal.audited(rollout)
    there = journal.audited(find_rollout(journal.PLAN, "staging"))
    browser = journal.browser_of("lead:staging")
    for first, other in ((here, there), (there, here)):
        address = f"/rollout/audits/{first.pk}/compare/{other.pk}/"
        assert browser.get(address).status_code == 403


def test_every_number_in_an_address_leads_to_its_environment() -> None:
    def numbers(patterns: list[URLPattern | URLResolver]) -> set[str]:
        names: set[str] = set()
        for pattern in patterns:
            names |= set(getattr(pattern.pattern, "converters", {}))
            names |= numbers(getattr(pattern, "url_patterns", []))
        return names

    within_a_rollout = {"plan", "environment", "number", "table", "column", "rule_id", "pid"}
    within_a_rollout |= {"item", "gate", "step"}
    of_no_environment = {"name", "delivery_id"}
    assert numbers(urls.urlpatterns) - within_a_rollout - of_no_environment == set(OBJECTS)


def test_a_group_of_one_environment_gives_nothing_everywhere(rollout: Rollout) -> None:
    groups = Group.objects.filter(name__contains=":")
    assert {group.name for group in groups} >= {"viewer:production", "lead:production"}
    assert not any(group.permissions.exists() for group in groups)
