"""Who may do what: every address and method, for everybody."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver
from django.utils import timezone

from rollout.console import urls
from rollout.models import Finding, LogEntry, Rollout
from tests.console import journal

EVERYBODY = ("anonymous", "viewer", "engineer", "lead")
OF_NO_ENVIRONMENT = ("notifications/",)
"""Beginnings of addresses that a role in one environment opens nothing of."""
OF_EVERY_ENVIRONMENT = (
    *("", "find/", "glossary/", "runbook/", "inbox/", "style/", "theme/", "guide/", "confirm/"),
    *("log/", "log/export.csv", "log/export.jsonl", "log/verify/"),
)
READERS = frozenset({"viewer", "engineer", "lead"})
AUDITORS = frozenset({"engineer", "lead"})
LEADS = frozenset({"lead"})
NOBODY: frozenset[str] = frozenset()

WHO_MAY = {
    # address: (who may GET it, who may POST to it); 405 for those who may, where it is not made.
    "": (READERS, READERS),
    "log/": (READERS, READERS),
    "log/{entry}/": (READERS, READERS),
    "log/export.csv": (READERS, READERS),
    "log/export.jsonl": (READERS, READERS),
    "log/verify/": (AUDITORS, AUDITORS),
    "find/": (READERS, READERS),
    "glossary/": (READERS, READERS),
    "runbook/": (READERS, READERS),
    "inbox/": (READERS, READERS),
    "style/": (READERS, READERS),
    "theme/": (READERS, READERS),
    "guide/": (READERS, READERS),
    "notifications/": (READERS, READERS),
    "notifications/webhooks/{webhook}/choose/": (LEADS, LEADS),
    "notifications/webhooks/{webhook}/test/": (LEADS, LEADS),
    "notifications/deliveries/{delivery}/resend/": (LEADS, LEADS),
    "confirm/": (READERS, READERS),
    "jobs/{job}/": (READERS, READERS),
    "jobs/{job}/pace/": (AUDITORS, AUDITORS),
    "jobs/{job}/retry-quarantined/": (AUDITORS, AUDITORS),
    "audits/{audit}/": (READERS, READERS),
    "audits/{audit}/compare/{other}/": (READERS, READERS),
    "audits/{audit}/pairs.csv": (READERS, READERS),
    "audits/{audit}/export.csv": (READERS, READERS),
    "audits/{audit}/export.json": (READERS, READERS),
    "audits/{audit}/repair/": (AUDITORS, AUDITORS),
    "findings/{finding}/": (READERS, READERS),
    "findings/{finding}/waive/": (LEADS, LEADS),
    "findings/{finding}/unwaive/": (LEADS, LEADS),
    "snapshots/{snapshot}/": (READERS, READERS),
    "snapshots/{snapshot}/verify/": (AUDITORS, AUDITORS),
    "snapshots/{snapshot}/delete/": (AUDITORS, AUDITORS),
    "snapshots/{snapshot}/cancel/": (AUDITORS, AUDITORS),
    "snapshots/{snapshot}/restore/": (LEADS, LEADS),
    "rehearsals/{rehearsal}/": (READERS, READERS),
    "rehearsals/{rehearsal}/cancel/": (AUDITORS, AUDITORS),
    "rehearsals/{rehearsal}/drop/": (AUDITORS, AUDITORS),
    "restores/{restore}/approve/": (LEADS, LEADS),
    "restores/{restore}/cancel/": (AUDITORS, AUDITORS),
    "environments/{environment}/drop/": (AUDITORS, AUDITORS),
    "mapping-changes/{change}/correct/": (AUDITORS, AUDITORS),
    "{rollout}/": (READERS, READERS),
    "{rollout}/header/": (READERS, READERS),
    "{rollout}/activity/": (READERS, READERS),
    "{rollout}/activity/{entry}/": (READERS, READERS),
    "{rollout}/activity/export.csv": (READERS, READERS),
    "{rollout}/activity/export.jsonl": (READERS, READERS),
    "{rollout}/phases/0/": (READERS, READERS),
    "{rollout}/phases/0/start/": (LEADS, LEADS),
    "{rollout}/phases/0/preflight/": (READERS, READERS),
    "{rollout}/readiness/": (READERS, READERS),
    "{rollout}/phases/0/roll-back/locks/": (READERS, READERS),
    "{rollout}/phases/1/forward.sql": (READERS, READERS),
    "{rollout}/phases/1/rollback.sql": (READERS, READERS),
    "{rollout}/phases/1/types.ts": (READERS, READERS),
    "{rollout}/phases/1/ticket/": (READERS, READERS),
    "{rollout}/phases/1/second-run/": (READERS, READERS),
    "{rollout}/schema/": (READERS, READERS),
    "{rollout}/leftovers/": (READERS, READERS),
    "{rollout}/snapshots/": (READERS, AUDITORS),
    "{rollout}/stage/": (AUDITORS, AUDITORS),
    "{rollout}/rehearsals/": (READERS, AUDITORS),
    "{rollout}/phases/0/estimate/": (LEADS, LEADS),
    "{rollout}/phases/2/csv/{item}/upload/": (LEADS, LEADS),
    "{rollout}/phases/2/csv/{item}/remove/": (LEADS, LEADS),
    "{rollout}/phases/0/roll-back/": (LEADS, LEADS),
    "{rollout}/phases/1/prepare/": (AUDITORS, AUDITORS),
    "{rollout}/phases/0/approval/": (LEADS, LEADS),
    "{rollout}/phases/0/ask-for-approval/": (LEADS, LEADS),
    "{rollout}/phases/1/override/{gate}/": (LEADS, LEADS),
    "{rollout}/phases/0/schedule/": (LEADS, LEADS),
    "{rollout}/unschedule/": (LEADS, LEADS),
    "{rollout}/checklist/{item}/": (AUDITORS, AUDITORS),
    "{rollout}/probe/": (AUDITORS, AUDITORS),
    "sign-offs/{sign_off}/agree/": (LEADS, LEADS),
    "sign-offs/{sign_off}/withdraw/": (LEADS, LEADS),
    "sign-offs/{sign_off}/remind/": (LEADS, LEADS),
    "{rollout}/pause/": (AUDITORS, AUDITORS),
    "{rollout}/resume/": (AUDITORS, AUDITORS),
    "{rollout}/cancel-run/": (LEADS, LEADS),
    "{rollout}/cancel-rollback/": (LEADS, LEADS),
    "{rollout}/retry/": (LEADS, LEADS),
    "{rollout}/blockers/{pid}/": (LEADS, LEADS),
    "{rollout}/audits/": (READERS, AUDITORS),
    "{rollout}/jobs/": (READERS, READERS),
    "{rollout}/monitoring/": (READERS, READERS),
    "{rollout}/rules/{rule}/release/": (LEADS, LEADS),
    "{rollout}/shadow/": (LEADS, LEADS),
    "{rollout}/mappings/": (READERS, READERS),
    "{rollout}/mappings/{text}/": (READERS, READERS),
    "{rollout}/mappings/{text}/new/": (READERS, READERS),
    "{rollout}/mappings/{text}/preview/": (AUDITORS, AUDITORS),
    "{rollout}/mappings/{text}/apply/": (AUDITORS, AUDITORS),
    "{rollout}/mappings/{text}/export.csv": (READERS, READERS),
    "{rollout}/values/{text}/": (READERS, READERS),
    "{rollout}/values/{text}/preview/": (AUDITORS, AUDITORS),
    "{rollout}/values/{text}/decide/": (AUDITORS, AUDITORS),
    "{rollout}/values/{text}/export.csv": (READERS, READERS),
}
# The property plan has no conversion and no step with a CSV file: ``views/test_value_decisions.py``
# and ``views/test_csv_files.py`` have these pages.
OF_OTHER_PLANS = ("{rollout}/values/", "{rollout}/phases/2/csv/")
PARTS_OF_PAGES = ("/mappings/{text}/new/", "{rollout}/header/")
ITEM, GATE = "rollback-scripts", "checklist-complete"
POST_ONLY = {
    *("pause", "resume", "cancel", "cancel-rollback", "pace", "retry-quarantined", "estimate"),
    *("waive", "unwaive", "verify", "delete", "preview", "apply", "release", "shadow"),
    *("decide", "upload", "remove"),
    *("choose", "test", "resend", "theme", "guide"),
    *("stage", "restore", "approve", "drop"),
    *("ask-for-approval", "schedule", "unschedule", ITEM, "probe", "prepare"),
    *("agree", "withdraw", "remind"),
}
MADE_FOR_POST = POST_ONLY | {
    *("start", "roll-back", "audits", "snapshots", "repair", "correct", "notifications"),
    *("retry", "cancel-run", "blockers", "confirm", "rehearsals", "approval", GATE),
}
SENT = {
    "typed": journal.PLAN,
    "target_ms": "50",
    "duty_percent": "50",
    "rows_per_second": "900",
    "workers": "2",
    "commit_limit_ms": "40",
    "reason": "It was sold in 1999.",
    "until": f"{date.today() + timedelta(days=3)}",
    "table": "properties",
    "column": "currency",
    "into": "production",
    "percent": "5",
    # Whatever other tests ask of the server meanwhile.
    "anyway": "on",
}


def addresses_of(patterns: Iterable[str], rollout: Rollout) -> dict[str, str]:
    """Each pattern with its address, for objects that all of them share."""
    known = named(rollout)
    waived = Finding.objects.get(rollout=rollout)
    waived.pk, waived.key, waived.waived_until = None, "2", timezone.now() + timedelta(days=1)
    waived.save()
    of_a_waiver = {**known, "finding": waived.pk}
    return {
        pattern: "/rollout/"
        + pattern.format(**of_a_waiver if pattern.endswith("unwaive/") else known)
        for pattern in patterns
    }


def named(rollout: Rollout) -> dict[str, object]:
    """What addresses name, after it was put into the journal."""
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
    )
    snapshot = journal.taken(rollout)
    entry = journal.noted(rollout)
    return {
        "rollout": f"{journal.PLAN}/production",
        "job": journal.job_of(step, finished_at=step.finished_at).pk,
        "audit": report.pk,
        "other": journal.audited(rollout).pk,
        "finding": finding.pk,
        "snapshot": snapshot.pk,
        "restore": journal.restored(snapshot).pk,
        "rehearsal": journal.rehearsed(snapshot).pk,
        "environment": journal.made(snapshot).pk,
        "text": "properties/type",
        "change": journal.reviewed(rollout).pk,
        "rule": "slow",
        "item": ITEM,
        "gate": GATE,
        "sign_off": journal.signed(rollout).pk,
        "webhook": "chat",
        "entry": entry.pk,
        "delivery": journal.delivery(entry).pk,
        "pid": 1,
    }


def browser_of(who: str) -> Client:
    return Client() if who == "anonymous" else journal.browser_of(who)


def last_part(pattern: str) -> str:
    if "{pid}" in pattern:
        return "blockers"
    last = pattern.strip("/").rpartition("/")[2]
    return {"{item}": ITEM, "{gate}": GATE}.get(last, last)


@contextmanager
def taken_back(*browsers: Client) -> Iterator[None]:
    """What is written meanwhile is not there afterwards, nor are cookies of these browsers."""
    cookies = [deepcopy(browser.cookies) for browser in browsers]
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
    for browser, kept in zip(browsers, cookies, strict=True):
        browser.cookies = kept


PARTS = 4


def in_parts(patterns: Iterable[str]) -> pytest.MarkDecorator:
    """One journal and one browser for many addresses; workers share the parts."""
    listed = list(patterns)
    return pytest.mark.parametrize("patterns", [listed[n::PARTS] for n in range(PARTS)])


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@in_parts(WHO_MAY)
def test_every_address_asks_who_is_there(
    rollout: Rollout, settings: Any, patterns: list[str]
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "NOTIFICATIONS": journal.ONE_WEBHOOK}
    browsers = {who: browser_of(who) for who in EVERYBODY}
    addresses = addresses_of(patterns, rollout)
    for pattern, method, who in product(patterns, ("get", "post"), browsers):
        with taken_back(browsers[who]):
            assert_only_those_who_may_are_answered(
                pattern, addresses[pattern], method, who, browsers[who]
            )


def assert_only_those_who_may_are_answered(
    pattern: str, address: str, method: str, who: str, browser: Client
) -> None:
    asked = f"{who}: {method} {pattern}"
    entries = LogEntry.objects.count()
    response = getattr(browser, method)(address, SENT)
    who_may = WHO_MAY[pattern][method == "post"]
    if who == "anonymous":
        assert response.status_code == 302, asked
        assert response["Location"].startswith("/accounts/login/?next=/rollout/"), asked
    elif who not in who_may:
        assert response.status_code == 403, asked
    else:
        assert response.status_code == status_of_made(pattern, method), asked
    if who not in who_may or method == "get":
        assert LogEntry.objects.count() == entries, asked


def status_of_made(pattern: str, method: str) -> int:
    """What is answered to those who may."""
    if pattern.startswith(OF_OTHER_PLANS):
        return 404 if (method == "post") == (last_part(pattern) in POST_ONLY) else 405
    if method == "get":
        if pattern.endswith(PARTS_OF_PAGES):
            return 302  # Opened as a page of its own it leads to the page that it is a part of.
        return 405 if last_part(pattern) in POST_ONLY else 200
    if pattern.endswith("/approval/"):
        return 422  # Refused without a digest, on the page that keeps the comment.
    return 302 if last_part(pattern) in MADE_FOR_POST else 405


@pytest.mark.slow
@pytest.mark.usefixtures("two_environments", "shared_parts")
@in_parts(WHO_MAY)
def test_a_role_in_one_environment_is_one_there_alone(
    rollout: Rollout, patterns: list[str]
) -> None:
    of_staging, of_production = browser_of("lead:staging"), browser_of("lead:production")
    addresses = addresses_of(patterns, rollout)
    for pattern, method in product(patterns, ("get", "post")):
        with taken_back(of_staging, of_production):
            asked, address = f"{method} {pattern}", addresses[pattern]
            entries = LogEntry.objects.count()
            refused = getattr(of_staging, method)(address, SENT)
            if pattern not in OF_EVERY_ENVIRONMENT:
                assert refused.status_code == 403, asked
            let_in = getattr(of_production, method)(address, SENT)
            nowhere = pattern.startswith(OF_NO_ENVIRONMENT)
            expected = 403 if nowhere else status_of_made(pattern, method)
            assert let_in.status_code == expected, asked
            if method == "get":
                assert LogEntry.objects.count() == entries, asked


def test_the_table_above_names_every_address() -> None:
    def addresses(patterns: list[URLPattern | URLResolver], prefix: str = "") -> set[str]:
        routes = set()
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                routes |= addresses(pattern.url_patterns, route)
            else:
                routes.add(route)
        return routes

    shown = {
        pattern.format(
            rollout="<str:plan>/<str:environment>",
            job="<int:job_id>",
            audit="<int:audit_id>",
            other="<int:other_id>",
            finding="<int:finding_id>",
            snapshot="<int:snapshot_id>",
            restore="<int:restore_id>",
            rehearsal="<int:rehearsal_id>",
            environment="<int:environment_id>",
            text="<str:table>/<str:column>",
            change="<int:change_id>",
            rule="<str:rule_id>",
            item="<str:item>",
            gate="<slug:gate>",
            sign_off="<int:sign_off_id>",
            webhook="<str:name>",
            entry="<int:entry_id>",
            delivery="<int:delivery_id>",
            pid="<int:pid>",
        )
        .replace("phases/0/", "phases/<int:number>/")
        .replace("phases/1/", "phases/<int:number>/")
        .replace("phases/2/csv/<str:item>/", "phases/<int:number>/csv/<str:step>/")
        for pattern in WHO_MAY
    }
    for_everybody = {"login/", "logout/"}
    assert shown | for_everybody == addresses(urls.urlpatterns)


def test_a_refused_user_reads_the_role_that_is_needed(rollout: Rollout, viewer: Client) -> None:
    response = viewer.post(f"{journal.PAGE}pause/")
    assert response.status_code == 403
    text = response.content.decode()
    assert "Requires the engineer or lead role in production." in text
    assert "You are logged in as viewer" in text


def test_a_user_without_any_role_sees_nothing(rollout: Rollout, client: Client) -> None:
    client.force_login(User.objects.create_user("newcomer"))
    assert client.get(journal.PAGE).status_code == 403


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
