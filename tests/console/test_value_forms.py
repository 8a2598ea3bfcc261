"""The fields of values that do not convert: typed input is kept, nothing hostile gets through."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from rollout.models import LogEntry, MappingChange, RunState
from tests.console.journal import browser_of, text_of
from tests.console.views.test_value_decisions import LIST, PAGE, decisions
from tests.console.views.value_pages import decide, fields_of, hidden_fields, preview, saved_by
from tests.support import rollouts
from tests.support.offers import offers


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
    assert MappingChange.objects.latest("pk").taken_back == 1
    assert "1 in 1 row " in text_of(viewer, PAGE)
    assert "free" not in fields_of(engineer, f"{PAGE}?show=open")["source-0"]

    file = engineer.get(f"{PAGE}export.csv").getvalue().decode()
    assert "Not a number" in file
    assert "invalid input syntax" not in file
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
    assert "1 decision (1 taken back), 2 rows." in text
    entry = LogEntry.objects.filter(event="values decided").latest("pk")
    assert entry.message.startswith("Took back the decision about 1 value of offer.price")
    assert entry.data["changes"][0]["taken_back"] is True

    # One of each, in one press.
    decide(engineer, PAGE, {**fields_of(engineer, PAGE), "value-0-0": "5"})
    mixed = {**fields_of(engineer, PAGE), "value-0-0": "", "empty-1": "on"}
    assert "1 decision saved, 1 taken back." in decide(engineer, PAGE, mixed)
    entry = LogEntry.objects.filter(event="values decided").latest("pk")
    both_of = "Decided about 1 value and took back the decision about 1 value of offer.price"
    assert entry.message.startswith(both_of)


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
