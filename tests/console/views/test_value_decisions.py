"""The page of values that do not convert: typed input is kept, and nothing hostile gets through."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from rollout.models import AuditReport, Rollout, RunState
from tests.console.journal import audited, browser_of, text_of
from tests.support import rollouts
from tests.support.offers import PLAN, offers

if TYPE_CHECKING:
    from django.test import Client

INBOX = "/rollout/inbox/"
LIST = f"/rollout/{PLAN}/production/mappings/"
PAGE = f"/rollout/{PLAN}/production/values/offer/price_cents/"


def fields_of(browser: Client, address: str = PAGE) -> dict[str, str]:
    """The hidden fields of the form, by their names."""
    html = browser.get(address).content.decode()
    pairs = re.findall(r'<input type="hidden" name="((?:source|was)-\d+)" value="([^"]*)"', html)
    return {name: unescape(value) for name, value in pairs}


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_undecided_values_are_counted_on_the_tab_and_wait_in_the_inbox() -> None:
    rollout = offers()
    rollouts.carry_out(rollout, 0, 1)
    rollouts.work_off(rollouts.start(rollout, 2), RunState.FAILED)
    engineer = browser_of("engineer")
    waits = '<span class="visually-hidden"> open values to review'
    leads_to_decisions(engineer)
    assert f'number">2{waits}' in text_of(engineer, PAGE)
    fields = {**fields_of(engineer), "value-0-0": "0"}
    engineer.post(f"{PAGE}decide/", fields)
    assert "Decide about values" in text_of(engineer, INBOX)
    assert "1 in 1 row " in text_of(engineer, PAGE)
    engineer.post(f"{PAGE}decide/", {**fields_of(engineer, f"{PAGE}?show=open"), "empty-0": "on"})
    assert "Decide about values" not in text_of(engineer, INBOX)
    text = text_of(engineer, PAGE)
    assert waits not in text
    # What is left empty was empty: two rows of the three have to follow.
    assert re.findall(r">Update ([\d,]+ rows?)</a>", text) == ["2 rows"]
    (correct,) = re.findall(r'href="([^"]+/correct/)"', text)
    assert "2 rows will be written" in text_of(engineer, correct)
    assert f'<a class="button" href="{LIST}">Cancel</a>' in text_of(engineer, correct)
    leads_to_a_retry(engineer, rollout)


def leads_to_decisions(engineer: Client) -> None:
    """No page offers a repair of rows that only wait for decisions."""
    decide = "Decide about values that do not convert, then retry phase 2"
    text = text_of(engineer, INBOX)
    assert f'<a href="{LIST}">{decide}</a>' in text
    assert "Repair" not in text
    assert f'<a href="{LIST}">An engineer to d{decide[1:]}</a>' in text_of(engineer, "/rollout/")
    here = text_of(engineer, f"/rollout/{PLAN}/production/")
    assert f'<a class="button button-small" href="{LIST}">Decide…</a>' in here
    assert "Repair…" not in here
    assert "Decide about the values of these rows, then retry phase 2." in here
    audit = AuditReport.objects.get().get_absolute_url()
    report = text_of(engineer, audit)
    assert f'href="{LIST}">Decide about values</a>' in report
    assert "Repair all rows" not in report
    refused = text_of(engineer, f"{audit}repair/")
    assert f'<a class="button button-primary" href="{LIST}">Decide about values</a>' in refused


def leads_to_a_retry(engineer: Client, rollout: Rollout) -> None:
    """Once all is decided, and once an audit has found every row right."""
    overview, audit = f"/rollout/{PLAN}/production/", AuditReport.objects.get()
    assert "mismatched row" not in text_of(engineer, INBOX)
    assert "People have decided about values since audit" in text_of(engineer, overview)
    clean = audited(rollout)
    assert f"Audit {clean.pk}, after audit {audit.pk}, is clean" in text_of(engineer, overview)
    report = text_of(engineer, audit.get_absolute_url())
    assert f"Audit {clean.pk} of " in report
    assert "nothing of this audit is left to repair" in report
    assert "Decide about values" not in report


def decisions() -> dict[str, Any]:
    with rollouts.target() as connection:
        rows = connection.execute("SELECT source, decided FROM rollout.value_decisions").fetchall()
    return {json.loads(source)[0]: decided for source, decided in rows}


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_people_decide_about_values_in_the_browser_one_by_one_together_and_by_a_file() -> None:
    offers()
    engineer, viewer = browser_of("engineer"), browser_of("viewer")
    assert "Not converted yet (from phase 2 on)" in text_of(viewer, LIST)
    html = viewer.get(PAGE).content.decode()
    assert "<h1>Values that do not convert: <code>" in html
    assert "&lt;b&gt;request&lt;/b&gt;" in html
    assert "Save decisions" not in html
    assert viewer.post(f"{PAGE}decide/").status_code == 403
    assert viewer.get(f"{PAGE}nonsense/").status_code == 404

    # What cannot be kept is still in its field, with the reason beside it.
    fields = fields_of(engineer)
    assert json.loads(fields["source-0"]) == ["free"]
    wrong = {**fields, "value-0-0": "much", "value-1-0": " 12 "}
    response = engineer.post(f"{PAGE}decide/", wrong)
    assert (response.status_code, decisions()) == (422, {})
    assert 'value="much"' in response.content.decode()
    assert "price_cents cannot hold this value" in response.content.decode()

    # What nobody typed decides nothing; a source that the browser made up is refused.
    response = engineer.post(f"{PAGE}decide/", {**fields, "value-0-0": "0"}, follow=True)
    assert "1 decision saved. Phase 2 will use them." in response.content.decode()
    assert decisions() == {"free": {"price_cents": "0"}}
    for hostile in ('["5"]', "{", "[" * 2000, "\ud800".encode("utf-16", "surrogatepass")):
        made_up = {"source-0": hostile, "was-0": "null", "value-0-0": "1"}
        assert engineer.post(f"{PAGE}decide/", made_up).status_code == 409
    stale = {**fields, "value-1-0": "7"}
    assert engineer.post(f"{PAGE}decide/", stale).status_code == 302
    assert decisions() == {
        "free": {"price_cents": "0"},
        "=on <b>request</b>": {"price_cents": "7"},
    }

    selected = {**fields_of(engineer), "chosen": ["0", "1"]}
    assert engineer.post(f"{PAGE}decide/", {**selected, "bulk": "empty"}).status_code == 302
    assert set(map(str, decisions().values())) == {"{'price_cents': None}"}
    selected = {**fields_of(engineer), "chosen": ["1"]}
    assert engineer.post(f"{PAGE}decide/", {**selected, "bulk": "leave"}).status_code == 302
    assert list(decisions()) == ["free"]
    assert "1 in 1 row " in text_of(viewer, PAGE)
    assert "free" not in fields_of(engineer, f"{PAGE}?show=open")["source-0"]

    file = engineer.get(f"{PAGE}export.csv").getvalue().decode()
    keys = {row["legacy"]: row["key"] for row in csv.DictReader(io.StringIO(file))}
    uploads = (
        (b"\xff", 422, "Not UTF-8 text"),
        (b"key,becomes_price_cents\nx,1\n", 422, "No value has this key"),
        (b"key,other\nx,1\n", 422, "The header lacks becomes_price_cents"),
        (f"key,becomes_price_cents\n{keys['free']},(leave)\n".encode(), 302, ""),
    )
    for data, status, message in uploads:
        upload = SimpleUploadedFile("values.csv", data)
        response = engineer.post(f"{PAGE}decide/", {"file": upload})
        assert (response.status_code, message in response.content.decode()) == (status, True)
    assert decisions() == {}


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_a_decision_is_shown_with_its_unit_and_what_readers_of_the_legacy_column_see() -> None:
    offers()
    rollouts.execute("UPDATE offer SET price = 'free' WHERE id BETWEEN 10 AND 12")
    engineer = browser_of("engineer")
    text = text_of(engineer, PAGE)
    assert re.search(r"0\.250* becomes 25\b", " ".join(re.sub(r"<[^>]+>", "", text).split()))
    assert "Key 8, 10 and 3 more" in text
    assert "Not a number" in text
    for raw in ("invalid input syntax", "as legacy"):
        assert raw not in text, raw
    wrong = {**fields_of(engineer), "value-0-0": "1,200"}
    answer = engineer.post(f"{PAGE}decide/", wrong).content.decode()
    assert "“1,200” is not a whole number, written as digits." in answer
    engineer.post(f"{PAGE}decide/", {**fields_of(engineer), "value-0-0": "1200"})
    text = " ".join(re.sub(r"<[^>]+>", "", text_of(engineer, PAGE)).split())
    assert "as legacy price: 12.00" in text
    mappings = text_of(engineer, LIST)
    assert "lookup rows" not in mappings
    assert "What becomes of values that the plan cannot convert." in mappings
