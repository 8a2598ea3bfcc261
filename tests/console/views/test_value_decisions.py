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

from rollout.models import AuditReport, MappingChange, Repair, Rollout, RunState
from tests.console.journal import audited, browser_of, ran, text_of
from tests.console.views.value_pages import decide, fields_of, hidden_fields, preview, saved_by
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
def test_people_decide_about_values_in_the_browser_one_by_one_together_and_by_a_file() -> None:
    offers()
    engineer, viewer = browser_of("engineer"), browser_of("viewer")
    assert "Not converted yet (from phase 2 on)" in text_of(viewer, LIST)
    html = viewer.get(PAGE).content.decode()
    assert "<h1>Values that do not convert: <code>" in html
    assert "&lt;b&gt;request&lt;/b&gt;" in html
    assert "Preview decisions" not in html
    for verb in ("preview", "decide"):
        assert viewer.post(f"{PAGE}{verb}/").status_code == 403
    assert viewer.get(f"{PAGE}nonsense/").status_code == 404

    # What cannot be kept is still in its field, with the reason beside it.
    fields = fields_of(engineer, PAGE)
    assert json.loads(fields["source-0"]) == ["free"]
    wrong = {**fields, "value-0-0": "much", "value-1-0": " 12 "}
    response = engineer.post(f"{PAGE}preview/", wrong)
    assert (response.status_code, decisions()) == (422, {})
    html = response.content.decode()
    assert 'value="much"' in html
    assert 'value="12"' in html
    assert "price_cents cannot hold this value" in html
    assert 'aria-invalid="true" aria-describedby="problem-0-0"' in html
    assert '<a href="#value-0-0">' in html

    # What nobody typed decides nothing; a source that the browser made up is refused.
    answer = engineer.post(f"{PAGE}preview/", fields, follow=True)
    assert "No changes to preview." in answer.content.decode()
    text = decide(engineer, PAGE, {**fields, "value-0-0": "0"})
    assert "1 decision saved. Phase 2 will use them." in text
    assert decisions() == {"free": {"price_cents": "0"}}
    taken_back = {**fields_of(engineer, PAGE), "chosen": ["0"], "bulk": "leave"}
    html = preview(engineer, PAGE, taken_back)
    assert re.search(r'<dt>Rows that phase 2 fills by them</dt>\s*<dd class="number">0<', html)
    assert ">none: undecided<" in html
    assert "it ends “Failed” at its audit" in html
    for hostile in ('["5"]', "{", "[" * 2000, "\ud800".encode("utf-16", "surrogatepass")):
        made_up = {"source-0": hostile, "was-0": "null", "value-0-0": "1"}
        assert "converts by now, or is gone" in preview(engineer, PAGE, made_up)
        assert engineer.post(f"{PAGE}decide/", made_up).status_code == 409
    decide(engineer, PAGE, {**fields, "value-1-0": "7"})
    assert decisions() == {
        "free": {"price_cents": "0"},
        "=on <b>request</b>": {"price_cents": "7"},
    }

    # What is typed beside values that are ticked is kept; nothing to set decides nothing.
    ticked = {**fields_of(engineer, PAGE), "chosen": ["0"], "value-0-0": "0", "value-1-0": "8"}
    decide(engineer, PAGE, {**ticked, "bulk": "set", "to-0": " "})
    assert decisions()["=on <b>request</b>"] == {"price_cents": "8"}
    assert decisions()["free"] == {"price_cents": "0"}
    selected = {**fields_of(engineer, PAGE), "chosen": ["0", "1"]}
    decide(engineer, PAGE, {**selected, "bulk": "empty"})
    assert set(map(str, decisions().values())) == {"{'price_cents': None}"}
    both = {**fields_of(engineer, PAGE), "empty-0": "on", "empty-1": "on"}
    decide(engineer, PAGE, {**both, "chosen": ["1"], "bulk": "leave"})
    assert list(decisions()) == ["free"]
    assert "1 in 1 row " in text_of(viewer, PAGE)
    assert "free" not in fields_of(engineer, f"{PAGE}?show=open")["source-0"]

    file = engineer.get(f"{PAGE}export.csv").getvalue().decode()
    keys = {row["legacy"]: row["key"] for row in csv.DictReader(io.StringIO(file))}
    uploads = (
        (b"\xff", 422, "Not UTF-8 text"),
        (b"key,becomes_price_cents\nx,1\n", 422, "No value has this key"),
        (b"key,other\nx,1\n", 422, "The header lacks becomes_price_cents"),
    )
    for data, status, message in uploads:
        upload = SimpleUploadedFile("values.csv", data)
        response = engineer.post(f"{PAGE}preview/", {"file": upload})
        assert (response.status_code, message in response.content.decode()) == (status, True)
    lines = f"key,becomes_price_cents\n{keys['free']},(leave)\n".encode()
    text = decide(engineer, PAGE, {"file": SimpleUploadedFile("values.csv", lines)})
    assert "1 decision taken back. Somebody has to decide again." in text
    assert decisions() == {}


@pytest.mark.usefixtures("committed_db", "own_plans")
def test_decisions_are_previewed_with_unit_and_rows_and_nothing_typed_is_lost() -> None:
    rollout = offers()
    rollouts.carry_out(rollout, 0, 1)
    rollouts.work_off(rollouts.start(rollout, 2), RunState.FAILED)
    engineer = browser_of("engineer")
    at = f"{PAGE}?order=a-to-z"
    fields = fields_of(engineer, at)
    number = next(k[-1] for k, v in fields.items() if v == '["free"]')
    other = "1" if number == "0" else "0"
    typed = {**fields, f"value-{number}-0": "1200", f"empty-{other}": "on"}
    response = engineer.post(f"{PAGE}preview/?order=a-to-z", typed)
    html = response.content.decode()
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert decisions() == {}
    assert "2 decisions about 3 rows" in text
    # The rows of what becomes empty are empty.
    assert "Filled rows to update 2 " in text
    assert "Becomes price_cents bigint" in text
    assert re.search(r"free Key 7, 8 2 undecided 1200 as legacy price : 12.00 to be upd", text)
    assert re.search(r"request</b> Key 9 1 undecided empty unchanged", unescape(text))
    assert f'href="{at}"' in html

    # Back to editing, all of it is there, whatever the page shows; from there it is saved.
    sent = saved_by(html)
    back = engineer.post(f"{PAGE}preview/?q=nothing", {**sent, "edit": "1"}).content.decode()
    assert 'value="1200"' in back
    assert len(re.findall(r'name="empty-\d" checked', back)) == 1
    again = {**hidden_fields(back), "value-0-0": "1300", "empty-1": "on"}
    sent = saved_by(preview(engineer, PAGE, again))
    assert engineer.post(f"{PAGE}decide/", {**sent, "seen": ""}).status_code == 409
    for made_up in ("[1]", "null", "[" * 2000, '{"a": ["\\ud800"]}', '{"a": {"b": 1}}'):
        response = engineer.post(f"{PAGE}decide/", {**sent, "decisions": made_up})
        assert (response.status_code, decisions()) == (302, {}), made_up
    assert engineer.post(f"{PAGE}decide/", sent).status_code == 302
    assert {str(d) for d in decisions().values()} == {
        "{'price_cents': '1300'}",
        "{'price_cents': None}",
    }
    repeated = engineer.post(f"{PAGE}decide/", sent)
    assert repeated.status_code == 409
    assert "every value has this decision already" in repeated.content.decode()


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
