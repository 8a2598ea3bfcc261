"""Who may do what: every address and method, for everybody."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from rollout.console import urls
from rollout.models import Finding, LogEntry, Rollout
from tests.console import journal

EVERYBODY = ("anonymous", "viewer", "engineer", "lead")
READERS = frozenset({"viewer", "engineer", "lead"})
AUDITORS = frozenset({"engineer", "lead"})
LEADS = frozenset({"lead"})
NOBODY: frozenset[str] = frozenset()

WHO_MAY = {
    # address: (who may GET it, who may POST to it); 405 for those who may, where it is not made.
    "": (READERS, READERS),
    "log/": (READERS, READERS),
    "notifications/": (READERS, READERS),
    "notifications/webhooks/{webhook}/choose/": (LEADS, LEADS),
    "notifications/webhooks/{webhook}/test/": (LEADS, LEADS),
    "notifications/deliveries/{delivery}/resend/": (LEADS, LEADS),
    "jobs/{job}/": (READERS, READERS),
    "jobs/{job}/pace/": (AUDITORS, AUDITORS),
    "jobs/{job}/retry-quarantined/": (AUDITORS, AUDITORS),
    "audits/{audit}/": (READERS, READERS),
    "audits/{audit}/compare/{other}/": (READERS, READERS),
    "audits/{audit}/export.csv": (READERS, READERS),
    "audits/{audit}/export.json": (READERS, READERS),
    "audits/{audit}/repair/": (AUDITORS, AUDITORS),
    "findings/{finding}/": (READERS, READERS),
    "findings/{finding}/waive/": (LEADS, LEADS),
    "findings/{finding}/unwaive/": (LEADS, LEADS),
    "snapshots/{snapshot}/": (READERS, READERS),
    "snapshots/{snapshot}/verify/": (AUDITORS, AUDITORS),
    "snapshots/{snapshot}/delete/": (AUDITORS, AUDITORS),
    "mapping-changes/{change}/correct/": (AUDITORS, AUDITORS),
    "{rollout}/": (READERS, READERS),
    "{rollout}/phases/0/": (READERS, READERS),
    "{rollout}/phases/0/start/": (LEADS, LEADS),
    "{rollout}/phases/0/preflight/": (READERS, READERS),
    "{rollout}/phases/0/roll-back/locks/": (READERS, READERS),
    "{rollout}/schema/": (READERS, READERS),
    "{rollout}/snapshots/": (READERS, AUDITORS),
    "{rollout}/phases/0/estimate/": (LEADS, LEADS),
    "{rollout}/phases/0/roll-back/": (LEADS, LEADS),
    "{rollout}/pause/": (AUDITORS, AUDITORS),
    "{rollout}/resume/": (AUDITORS, AUDITORS),
    "{rollout}/cancel/": (LEADS, LEADS),
    "{rollout}/retry/": (LEADS, LEADS),
    "{rollout}/blockers/{pid}/": (LEADS, LEADS),
    "{rollout}/audits/": (READERS, AUDITORS),
    "{rollout}/monitoring/": (READERS, READERS),
    "{rollout}/rules/{rule}/release/": (LEADS, LEADS),
    "{rollout}/mappings/": (READERS, READERS),
    "{rollout}/mappings/{text}/": (READERS, READERS),
    "{rollout}/mappings/{text}/new/": (READERS, READERS),
    "{rollout}/mappings/{text}/preview/": (AUDITORS, AUDITORS),
    "{rollout}/mappings/{text}/apply/": (AUDITORS, AUDITORS),
    "{rollout}/mappings/{text}/export.csv": (READERS, READERS),
}
POST_ONLY = {
    *("pause", "resume", "cancel", "retry", "pace", "retry-quarantined", "estimate"),
    *("waive", "unwaive", "verify", "delete", "preview", "apply", "release"),
    *("choose", "test", "resend"),
}
MADE_FOR_POST = POST_ONLY | {
    *("start", "roll-back", "audits", "snapshots", "repair", "correct", "notifications"),
    "blockers",
}
SENT = {
    "target_ms": "50",
    "duty_percent": "50",
    "workers": "2",
    "reason": "It was sold in 1999.",
    "until": f"{date.today() + timedelta(days=3)}",
    "table": "properties",
    "column": "currency",
}


def address_of(pattern: str, rollout: Rollout) -> str:
    step = journal.reached(journal.ran(rollout, 2), "backfill")
    compared = {"table": "properties", "column": "currency", "categories": {"ok": 1}, "cells": []}
    nothing = {"legacy_column": "", "lookup_table": ""}
    report = journal.audited(rollout, translations=[{**compared, **nothing}])
    finding = Finding.objects.create(
        rollout=rollout,
        table="properties",
        key="1",
        column="currency",
        category="wrong",
        waived_until=timezone.now() + timedelta(days=1) if pattern.endswith("unwaive/") else None,
    )
    return "/rollout/" + pattern.format(
        rollout=f"{journal.PLAN}/production",
        job=journal.job_of(step, finished_at=step.finished_at).pk,
        audit=report.pk,
        other=journal.audited(rollout).pk,
        finding=finding.pk,
        snapshot=journal.taken(rollout).pk,
        text="properties/type",
        change=journal.reviewed(rollout).pk,
        rule="slow",
        webhook="chat",
        delivery=journal.told(journal.noted(rollout)).pk,
        pid=1,
    )


def browser_of(who: str) -> Client:
    return Client() if who == "anonymous" else journal.browser_of(who)


def last_part(pattern: str) -> str:
    if "{pid}" in pattern:
        return "blockers"
    return pattern.strip("/").rpartition("/")[2]


@pytest.mark.parametrize("who", EVERYBODY)
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("pattern", WHO_MAY)
def test_every_address_asks_who_is_there(
    rollout: Rollout, settings: Any, pattern: str, method: str, who: str
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "NOTIFICATIONS": journal.ONE_WEBHOOK}
    address, browser = address_of(pattern, rollout), browser_of(who)
    entries = LogEntry.objects.count()
    response = getattr(browser, method)(address, SENT)
    who_may = WHO_MAY[pattern][method == "post"]
    if who == "anonymous":
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/?next=/rollout/")
    elif who not in who_may:
        assert response.status_code == 403
    elif method == "get":
        assert response.status_code == (405 if last_part(pattern) in POST_ONLY else 200)
    else:
        assert response.status_code == (302 if last_part(pattern) in MADE_FOR_POST else 405)
    if who not in who_may or method == "get":
        assert LogEntry.objects.count() == entries


def test_the_table_above_names_every_address() -> None:
    def addresses(patterns: list[URLPattern | URLResolver], prefix: str = "") -> set[str]:
        found = set()
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                found |= addresses(pattern.url_patterns, route)
            else:
                found.add(route)
        return found

    shown = {
        pattern.format(
            rollout="<str:plan>/<str:environment>",
            job="<int:job_id>",
            audit="<int:audit_id>",
            other="<int:other_id>",
            finding="<int:finding_id>",
            snapshot="<int:snapshot_id>",
            text="<str:table>/<str:column>",
            change="<int:change_id>",
            rule="<str:rule_id>",
            webhook="<str:name>",
            delivery="<int:delivery_id>",
            pid="<int:pid>",
        ).replace("phases/0/", "phases/<int:number>/")
        for pattern in WHO_MAY
    }
    assert shown == addresses(urls.urlpatterns)


def test_who_is_refused_is_told_the_role_that_is_needed(rollout: Rollout, viewer: Client) -> None:
    response = viewer.post(f"{journal.PAGE}pause/")
    assert response.status_code == 403
    text = response.content.decode()
    assert "This needs the role engineer or lead." in text
    assert "You are signed in as viewer" in text


def test_a_user_without_any_role_sees_nothing(rollout: Rollout, client: Client) -> None:
    from django.contrib.auth.models import User

    client.force_login(User.objects.create_user("newcomer"))
    assert client.get(journal.PAGE).status_code == 403


def test_a_fragment_asked_for_after_the_session_ended_reloads_the_page(rollout: Rollout) -> None:
    response = Client().get(journal.PAGE, headers=journal.HTMX)
    assert response["HX-Refresh"] == "true"


def test_who_logs_in_after_a_refused_press_comes_to_a_page_that_can_be_shown(
    rollout: Rollout,
) -> None:
    response = Client().post(f"{journal.PAGE}pause/")
    assert response["Location"] == "/accounts/login/?next=/rollout/"


def test_a_press_without_the_token_of_the_form_is_refused(rollout: Rollout) -> None:
    browser = Client(enforce_csrf_checks=True)
    lead = journal.browser_of("lead")
    browser.cookies = lead.cookies
    assert browser.post(f"{journal.PAGE}phases/0/start/").status_code == 403
    assert not rollout.runs.exists()


@pytest.mark.parametrize(
    ("who", "buttons"),
    [
        ("viewer", set()),
        ("engineer", {"verb-pause", "start-audit"}),
        ("lead", {"verb-pause", "verb-cancel", "start-audit"}),
    ],
)
def test_a_button_that_somebody_may_not_press_is_not_shown(
    rollout: Rollout, who: str, buttons: set[str]
) -> None:
    journal.ran(rollout, 0, "running")
    text = journal.text_of(journal.browser_of(who), journal.PAGE)
    every = {"verb-pause", "verb-resume", "verb-cancel", "verb-retry", "start-audit", "start"}
    assert {button for button in every if f'id="{button}"' in text} == buttons


def test_pages_are_not_kept_by_the_browser(rollout: Rollout, viewer: Client) -> None:
    assert "no-store" in viewer.get(journal.PAGE)["Cache-Control"]
