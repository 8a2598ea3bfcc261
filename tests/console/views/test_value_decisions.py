"""The page of values that do not convert: typed input is kept, and nothing hostile gets through."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from rollout.models import (
    AuditReport,
    Finding,
    MappingChange,
    Repair,
    Rollout,
    RunState,
)
from tests.console.journal import audited, browser_of, ran, text_of
from tests.console.views.value_pages import decide, fields_of, preview, saved_by
from tests.support import rollouts
from tests.support.offers import PLAN, offers

if TYPE_CHECKING:
    from django.test import Client

    from tests.support.rollouts import Cli

INBOX = "/rollout/inbox/"
LIST = f"/rollout/{PLAN}/production/mappings/"
PAGE = f"/rollout/{PLAN}/production/values/offer/price_cents/"


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_undecided_values_are_counted_on_the_tab_and_wait_in_the_inbox() -> None:
    rollout = offers()
    rollouts.carry_out(rollout, 0, 1)
    lead, overview = browser_of("lead"), f"/rollout/{PLAN}/production/"
    start = text_of(lead, f"{overview}phases/2/start/")
    assert "2 values do not convert, in 3 rows. <strong>Phase 2 ends “Failed” at its audit" in start
    assert f'<a href="{LIST}">Decide about values</a>' in start
    rollouts.work_off(rollouts.start(rollout, 2), RunState.FAILED)
    assert "Phase 2 failed" not in text_of(lead, INBOX), "the decisions before its retry say so"
    engineer = browser_of("engineer")
    assert f'<a href="{PAGE}?q=free">' in text_of(engineer, "/rollout/find/?q=FRE")
    waits = '<span class="visually-hidden"> open values to review'
    leads_to_decisions(engineer)
    assert f'number">2{waits}' in text_of(engineer, PAGE)
    decide(engineer, PAGE, {**fields_of(engineer, PAGE), "value-0-0": "0"})
    assert "Decide about values" in text_of(engineer, INBOX)
    assert "1 in 1 row " in text_of(engineer, PAGE)
    left = "1 value does not convert, in 1 row. Decide about each, then retry phase 2."
    assert left in text_of(engineer, overview)
    decide(engineer, PAGE, {**fields_of(engineer, f"{PAGE}?show=open"), "empty-0": "on"})
    assert "Decide about values" not in text_of(engineer, INBOX)
    text = text_of(engineer, PAGE)
    assert waits not in text
    # What is left empty was empty: two rows of the three have to follow.
    assert re.findall(r">Update ([\d,]+ rows?)</a>", text) == ["2 rows"]
    (correct,) = re.findall(r'href="([^"]+/correct/)"', text)
    update = f'<a href="{correct}">Update 2 rows of offer, then retry phase 2</a>'
    assert update in text_of(engineer, INBOX)
    assert "Phase 2 failed" not in text_of(lead, INBOX), "the update before its retry says so"
    here = text_of(engineer, overview)
    assert f'href="{correct}">Update 2 rows</a>' in here
    assert ": none is left undecided. Update 2 rows, then retry phase 2." in here
    repair = ran(rollout, 2, "queued", direction="repair")
    Repair.objects.create(run=repair, change=MappingChange.objects.latest("pk"))
    here = text_of(engineer, overview)
    assert f"Repair {repair.pk} updates rows. Once it is done, retry phase 2." in here
    assert correct not in here
    repair.delete()
    assert "2 rows will be written" in text_of(engineer, correct)
    # The SQL that it shows is that of rows with a decision.
    assert "_decided" in str(text_of(engineer, correct).split("<pre", 1)[1])
    assert f'<a class="button" href="{LIST}">Cancel</a>' in text_of(engineer, correct)
    leads_to_a_retry(engineer, rollout)


def leads_to_decisions(engineer: Client) -> None:
    """No page offers a repair of rows that only wait for decisions."""
    row = text_of(engineer, Finding.objects.get(key="7").get_absolute_url())
    row = row.split('id="now"', 1)[1].split('id="state"', 1)[0]
    assert re.search(r'data-label="Legacy">.{0,60}\bfree\b', row)
    assert "Undecided" in row
    decide = "Decide about values that do not convert, then retry phase 2"
    text = text_of(engineer, INBOX)
    assert f'<a href="{LIST}">{decide}</a>' in text
    assert "Repair" not in text
    listed = f'<a href="{LIST}">An engineer or a lead to d{decide[1:]}</a>'
    assert listed in text_of(engineer, "/rollout/")
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
def test_a_preview_that_others_have_overtaken_is_previewed_again() -> None:
    offers()
    first, second = browser_of("engineer"), browser_of("lead")
    fields = {**fields_of(first, PAGE), "value-0-0": "1"}
    sent = saved_by(preview(first, PAGE, fields))
    decide(second, PAGE, {**fields, "value-0-0": "2"})
    refused = first.post(f"{PAGE}decide/", sent)
    assert refused.status_code == 409
    html = refused.content.decode()
    assert "since your preview" in html
    assert decisions() == {"free": {"price_cents": "2"}}
    first.post(f"{PAGE}decide/", saved_by(html))
    assert decisions() == {"free": {"price_cents": "1"}}


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
    wrong = {**fields_of(engineer, PAGE), "value-0-0": "1,200"}
    answer = engineer.post(f"{PAGE}preview/", wrong).content.decode()
    assert "“1,200” is not a whole number, written as digits. Enter 1200." in answer
    decide(engineer, PAGE, {**fields_of(engineer, PAGE), "value-0-0": "1200"})
    text = " ".join(re.sub(r"<[^>]+>", "", text_of(engineer, PAGE)).split())
    assert "as legacy price: 12.00" in text
    mappings = text_of(engineer, LIST)
    assert "lookup rows" not in mappings
    assert "What becomes of values that the plan cannot convert." in mappings


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_decisions_are_shown_and_downloaded_once_phase_4_has_dropped_the_legacy_column(
    cli: Cli,
) -> None:
    rollout = offers()
    engineer = browser_of("engineer")
    decide(engineer, PAGE, {**fields_of(engineer, PAGE), "value-0-0": "0", "value-1-0": "7"})
    before = decisions()
    rollouts.carry_out(rollout, 0, 1, 2, 3, 4)
    assert "=on &lt;b&gt;request&lt;/b&gt;" in text_of(engineer, PAGE)
    file = engineer.get(f"{PAGE}export.csv").getvalue().decode()
    rows = [
        (row["legacy"], row["becomes_price_cents"]) for row in csv.DictReader(io.StringIO(file))
    ]
    assert rows == [("'=on <b>request</b>", "7"), ("free", "0")]
    key = next(csv.DictReader(io.StringIO(file)))["key"]
    upload = SimpleUploadedFile("values.csv", f"key,becomes_price_cents\n{key},1\n".encode())
    refused = engineer.post(f"{PAGE}preview/", {"file": upload})
    assert refused.status_code == 200
    assert "legacy values are archived" in refused.content.decode()
    assert decisions() == before
    code, out, _ = cli("unconvertible", PLAN, "--column", "offer.price_cents")
    assert (code, "  becomes 7\n" in out) == (0, True)
