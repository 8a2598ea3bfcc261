"""No page, part, link or button breaks where an environment, a plan or a person is there no more.

Every address of the console is opened, as a page and as a part, and pressed, for objects of each of
them; then every link of those pages is followed.
"""

import inspect
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urlsplit

import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from django.test.utils import CaptureQueriesContext

from rollout.engine import target
from rollout.gates import cached_queries
from rollout.models import Finding, PhaseRun, Rollout, Snapshot
from rollout.plan import plans
from tests.console import journal
from tests.console.http.closed_environments import (
    FORMER,
    PRESSED,
    STATES,
    Make,
    State,
    forget_the_database,
    live,
    port_of,
    silent,
    unreachable,
    without_its_plan,
)
from tests.console.http.test_access import (
    OF_OTHER_PLANS,
    POST_ONLY,
    SENT,
    WHO_MAY,
    last_part,
    named,
)
from tests.support.pages import NAMED_BESIDES

OF_NO_ROLLOUT = (
    "",
    "inbox/",
    "find/",
    "log/",
    "glossary/",
    "runbook/",
    "style/",
    "theme/",
    "guide/",
    "confirm/",
    "notifications/",
)
"""Beginnings of addresses that are about no rollout."""
BUTTONS_OF_THE_JOURNAL = (
    *("snapshots/{snapshot}/delete/", "findings/{finding}/waive/", "findings/{finding}/unwaive/"),
    *("rehearsals/{rehearsal}/drop/", "sign-offs/{sign_off}/withdraw/"),
)
"""What can be done without the database: it changes what the journal or the storage has."""


@pytest.fixture
def state(
    rollout: Rollout,
    settings: LazySettings,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[State]:
    make: Make = request.param
    settings.ROLLOUT = {**settings.ROLLOUT, "NOTIFICATIONS": journal.ONE_WEBHOOK}
    # The first question waits for a silent server; the other thousand need not.
    monkeypatch.setattr(target, "SILENT_SECONDS", 3600.0)
    # The application's own connection to a database that the tests do not know is one, too.
    connect = inspect.getclosurevars(BaseDatabaseWrapper.ensure_connection).nonlocals
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", connect["real_ensure_connection"])
    cached_queries.invalidate()
    with port_of(make) as (port, _bound):
        state = make(production=rollout, settings=settings, port=port)
        state.names = objects_of(state.rollout)
        if make is without_its_plan:
            plans._plans[:] = [plan for plan in plans if plan.name != FORMER]
        if make is live:
            get_user_model().objects.filter(username="grace").delete()
            actors = PhaseRun.objects.values_list("actor__username", flat=True)
            assert {None, "ada"} <= set(actors)
        yield state
    forget_the_database()


def objects_of(rollout: Rollout) -> dict[str, object]:
    """What addresses name, of this rollout: also a job under way, and a finding with its rows."""
    names = named(rollout)
    if rollout.environment != "production":
        # The checklist is production's.
        names["gate"] = "no-drift"
    ada, grace = (
        get_user_model().objects.get_or_create(username=name)[0] for name in ("ada", "grace")
    )
    failed = journal.ran(rollout, 3, "failed", actor=grace, error="It broke.", advice="Retry.")
    journal.reached(failed, "type-foreign-key", "failed")
    at_work = journal.ran(rollout, 2, "running", actor=ada)
    step = journal.reached(at_work, "backfill", "running")
    cell = {"legacy": "Loft", "new": "House", "category": "wrong", "rows": 3, "mapped": "Loft"}
    compared = {
        "table": "properties",
        "column": "property_type_id",
        "legacy_column": "type",
        "lookup_table": "property_types",
        "categories": {"wrong": 3},
        "cells": [cell],
    }
    report = journal.audited(rollout, "mismatched", mismatched=3, translations=[compared])
    finding = Finding.objects.get(rollout=rollout)
    journal.mismatching(report, "1", finding=finding)
    journal.noted(rollout)
    return {
        **names,
        "rollout": f"{rollout.plan}/{rollout.environment}",
        "job_at_work": journal.job_of(step).pk,
        "mismatched": report.pk,
    }


ALSO = {
    "jobs/{job_at_work}/": "jobs/{job}/",
    "jobs/{job_at_work}/pace/": "jobs/{job}/pace/",
    "audits/{mismatched}/": "audits/{audit}/",
    "audits/{mismatched}/?cell=0.0": "audits/{audit}/",
    "audits/{mismatched}/export.csv": "audits/{audit}/export.csv",
    "audits/{mismatched}/export.csv?rows=kept": "audits/{audit}/export.csv",
}
"""More objects of addresses that stand in the table of who may open them."""


def addresses(state: State) -> dict[str, str]:
    """Each pattern of the console with its address for the objects of a state."""
    address_of = {}
    for pattern in (*WHO_MAY, *ALSO):
        assert ALSO.get(pattern, pattern) in WHO_MAY
        if pattern.startswith(OF_OTHER_PLANS):
            continue
        besides = "" if "?" in pattern else NAMED_BESIDES.get(last_part(pattern), "")
        address_of[pattern] = f"/rollout/{pattern.format(**state.names)}{besides}"
    return address_of


def is_of(state: State, link: str) -> bool:
    """Whether an address is of the rollout of a state, or of an object of it."""
    path = urlsplit(link).path.removeprefix("/rollout/")
    of_a_rollout = any(path.startswith(f"{plan}/") for plan in (journal.PLAN, FORMER))
    return path.startswith(f"{state.names['rollout']}/") if of_a_rollout else is_about_it(path)


def is_about_it(pattern: str) -> bool:
    return not any(pattern == of or (of and pattern.startswith(of)) for of in OF_NO_ROLLOUT)


@pytest.fixture
def lead_browser(db: None) -> Client:
    client = journal.browser_of("lead")
    client.raise_request_exception = False
    return client


def body_of(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode())


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        names = ("href", "hx-get") if tag != "link" else ()
        self.addresses |= {value for name in names if (value := given.get(name))}


def links_in(html: str, page: str) -> set[str]:
    """The addresses of the console that a page links to, or asks for by itself."""
    reader = _Links()
    reader.feed(html)
    links = set()
    for link in reader.addresses:
        address = urldefrag(link).url
        if address.startswith("?"):
            address = urlsplit(page).path + address
        if address.startswith("/rollout/"):
            links.add(address)
    return links


def read_only(state: State) -> dict[str, str]:
    """Those of the addresses that are pages."""
    return {
        pattern: address
        for pattern, address in addresses(state).items()
        if last_part(pattern.partition("?")[0]) not in POST_ONLY
    }


def is_answered(response: Any, state: State) -> bool:
    """Whether it was answered: where something is away also by saying that, not by breaking."""
    if response.status_code == 409:
        # Some rows of an audit are read from the database: what is in it decides.
        return bool(state.says) or "t export every row" in body_of(response)
    return response.status_code == 200 or (bool(state.says) and response.status_code in (410, 503))


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@pytest.mark.parametrize("state", STATES, indirect=True, ids=lambda make: make.__name__)
def test_every_page_says_what_is_there_no_more_and_every_link_of_it_leads_somewhere(
    state: State, lead_browser: Client
) -> None:
    wrong: list[tuple[object, ...]] = []
    linked: dict[str, str] = {}
    for pattern, address in read_only(state).items():
        # What is a part alone leads to the page that it is of.
        response = lead_browser.get(address, follow=True)
        text = body_of(response)
        if not is_answered(response, state):
            wrong.append((address, response.status_code))
        if "text/html" not in response["Content-Type"]:
            continue
        if pattern != "style/":  # It shows parts of pages, of objects that never were.
            linked |= dict.fromkeys(links_in(text, address), address)
        away = state.closed or response.status_code != 200
        if away and is_about_it(pattern) and state.says not in text:
            wrong.append((address, response.status_code, "does not say it"))
    others = linked.keys() - set(addresses(state).values())
    if state.says:
        # What is of no rollout, or of another, is followed where nothing is away.
        others = {link for link in others if is_of(state, link)}
    for link in sorted(others):
        response = lead_browser.get(link, follow=True)
        if response.status_code in (404, 405, 500):
            wrong.append((link, response.status_code, f"linked on {linked[link]}"))
    assert not wrong


@pytest.mark.slow
@pytest.mark.usefixtures("shared_parts")
@pytest.mark.parametrize("state", PRESSED, indirect=True, ids=lambda make: make.__name__)
def test_no_part_breaks_and_no_button_says_done_of_what_no_worker_can_do(
    state: State, lead_browser: Client
) -> None:
    wrong = []
    for pattern, address in read_only(state).items():
        response = lead_browser.get(address, headers=journal.HTMX)
        if not is_answered(response, state):
            wrong.append((address, response.status_code, "as a part"))
        reloads = response.headers.get("HX-Refresh") == "true"
        if state.closed and pattern.startswith("{rollout}") and not reloads:
            # The whole page is requested: it has no part that asks again and again.
            wrong.append((address, response.status_code, "as a part, once more"))
    for pattern, address in addresses(state).items():
        with transaction.atomic():
            before = len(connection.run_on_commit)
            response = lead_browser.post(address, SENT)
            queued = len(connection.run_on_commit) > before
            transaction.set_rollback(True)
        if response.status_code in (404, 500):
            wrong.append((address, response.status_code, "pressed"))
        needs_it = is_about_it(pattern) and pattern not in BUTTONS_OF_THE_JOURNAL
        if state.says and not state.answers and needs_it and queued:
            wrong.append((address, response.status_code, "pressed, and something was queued"))
    assert not wrong


def test_a_page_waits_once_for_a_server_that_says_nothing(
    rollout: Rollout, settings: LazySettings, lead_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "SILENT_SECONDS", 3600.0)
    cached_queries.invalidate()
    with port_of(silent) as (port, listening):
        state = unreachable(settings, port)
        journal.job_of(journal.reached(journal.ran(state.rollout, 2, "running"), "backfill"))
        assert lead_browser.get(f"/rollout/{journal.PLAN}/qa/").status_code == 200
        listening.settimeout(5)
        listening.accept()[0].close()
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
    forget_the_database()


def test_kept_rows_of_an_audit_are_exported_when_the_others_cannot_be_read(
    rollout: Rollout, lead_browser: Client
) -> None:
    sandbox = journal.rehearsed(journal.taken(rollout)).sandbox
    report = journal.audited(sandbox, "mismatched", mismatched=5, stored_mismatches=1)
    cells = [{"legacy": "a", "new": "b", "category": "wrong", "rows": 5}]
    report.translations = [{"table": "properties", "column": "x", "cells": cells}]
    report.save()
    journal.mismatching(report, "42")
    address = f"/rollout/audits/{report.pk}/export.csv"
    refused = lead_browser.get(address)
    assert refused.status_code == 409
    assert "counted 5 mismatches and stored 1 of them" in refused.content.decode()
    kept = lead_browser.get(f"{address}?rows=kept")
    assert f"audit-{report.pk}-kept-rows.csv" in kept["Content-Disposition"]
    assert "42" in body_of(kept)


def test_a_snapshot_of_an_environment_that_is_gone_is_not_verified_again(
    rollout: Rollout, lead_browser: Client
) -> None:
    snapshot = journal.taken(journal.rehearsed(journal.taken(rollout)).sandbox)
    answer = lead_browser.post(f"/rollout/snapshots/{snapshot.pk}/verify/", follow=True)
    assert "Nothing was done. The database of rehearsal-1 was dropped" in answer.content.decode()
    assert Snapshot.objects.get(pk=snapshot.pk).state == "verified"


def test_a_closed_page_asks_once_what_became_of_its_environment(
    rollout: Rollout, lead_browser: Client
) -> None:
    sandbox = journal.rehearsed(journal.taken(rollout)).sandbox
    with CaptureQueriesContext(connection) as queries:
        answer = lead_browser.get(f"/rollout/{sandbox.plan}/{sandbox.environment}/")
    assert "was dropped" in answer.content.decode()
    newest = 'ORDER BY "rollout_environment"."id" DESC'
    assert sum(newest in query["sql"] for query in queries) == 1
