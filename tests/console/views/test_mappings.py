"""The review of mappings in the browser: nothing applied unseen, nothing typed lost."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from tests.console import journal
from tests.console.journal import PAGE, browser_of, fragment_of, reviewed, text_of

if TYPE_CHECKING:
    from rollout.models import Rollout

LIST = f"{PAGE}mappings/"
TYPES = f"{LIST}properties/type/"
HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture
def engineer(properties: Rollout) -> Client:
    return browser_of("engineer")


def fields_of(text: str) -> dict[str, str]:
    """What the form of the values would send as it stands."""
    pairs = re.findall(r'<input type="(?:hidden|text)" name="([^"]+)" value="([^"]*)"', text)
    return {name: value for name, value in pairs if name != "csrfmiddlewaretoken"}


def number_of(fields: dict[str, str], form: str) -> str:
    return next(n.removeprefix("form-") for n, v in fields.items() if v == form and "form-" in n)


def decisions_in(text: str) -> list[list[object]]:
    field = re.search(r'name="decisions" value="([^"]*)"', text)
    assert field is not None
    return json.loads(field[1].replace("&quot;", '"'))  # type: ignore[no-any-return]


def seen_in(text: str) -> str:
    field = re.search(r'name="seen" value="([^"]*)"', text)
    assert field is not None
    return field[1]


def preview(browser: Client, **typed: str) -> str:
    """The preview of decisions, typed into the page: form to name."""
    fields = fields_of(text_of(browser, TYPES))
    for form, name in typed.items():
        fields[f"name-{number_of(fields, form.replace('_', ' '))}"] = name
    response = browser.post(f"{TYPES}preview/", fields)
    assert response.status_code == 200, response.content
    return response.content.decode()


def write_around_the_triggers(*, rows: int = 1, skip: int = 0, **values: str) -> None:
    """Give some rows texts and no lookup row."""
    from tests import rollouts

    with rollouts.target() as other, other.transaction():
        other.execute("ALTER TABLE properties DISABLE TRIGGER USER")
        for column, text in values.items():
            other.execute(
                f"UPDATE properties SET {column} = %s, property_{column}_id = NULL WHERE id IN"
                " (SELECT id FROM properties ORDER BY id OFFSET %s LIMIT %s)".encode(),
                [text, skip, rows],
            )
        other.execute("ALTER TABLE properties ENABLE TRIGGER USER")


def audited(browser: Client) -> str:
    """The report of a full audit that somebody asked for on the page."""
    from rollout.models import AuditReport
    from tests import rollouts

    assert browser.post(f"{PAGE}audits/", {"mode": "full"}).status_code == 302
    rollouts.work()
    return text_of(browser, f"/rollout/audits/{AuditReport.objects.all()[0].pk}/")


def test_texts_that_no_mapping_knows_come_to_a_clean_audit_by_the_pages_alone(
    filled: Rollout,
) -> None:
    """Audit, review, correct, audit: every step by a link or a form that the page before it has."""
    from rollout.models import AuditReport, MappingChange
    from tests import rollouts

    lead = browser_of("lead")
    too_long = "A moon base, " * 20
    write_around_the_triggers(rows=3, type="Moon base 1")
    write_around_the_triggers(rows=2, skip=3, type="moon  BASE 1")
    write_around_the_triggers(rows=1, skip=5, type="Crater")
    write_around_the_triggers(rows=1, skip=6, type="n/a?")
    write_around_the_triggers(rows=1, skip=7, type=too_long)
    with rollouts.target() as other, other.transaction():
        other.execute("ALTER TABLE properties DISABLE TRIGGER USER")
        other.execute("UPDATE properties SET currency = 'EUR' WHERE type = 'Moon base 1'")
        other.execute("ALTER TABLE properties ENABLE TRIGGER USER")
    report = audited(lead)
    link = f"{TYPES}?show=unmapped"
    everything = re.search(r'href="(/rollout/audits/\d+/repair/)">Repair all rows', report)
    assert everything is not None
    # No row that has another wrong column as well can be written before people decide.
    assert link in unescape(text_of(lead, everything[1]))
    assert "8 rows have unmapped legacy values." in report
    assert link in unescape(report)
    page = text_of(lead, link)
    assert len(values_in(page)) == 4
    assert "Longer than 200 characters" in page
    fields = fields_of(page)
    numbers = {form: number_of(fields, form) for form in ("moon base 1", "crater", "n/a?")}
    long = next(n.removeprefix("form-") for n, v in fields.items() if v.startswith("a moon base,"))
    # As it is written for one, another name for the next, no value for the third.
    shown = lead.post(
        f"{TYPES}preview/", {**fields, "chosen": [numbers["moon base 1"]], "bulk": "keep"}
    ).content.decode()
    carried = json.dumps(decisions_in(shown))
    assert "2 spellings will be mapped differently" in shown
    assert "not mapped" in shown
    fields |= {f"name-{numbers['crater']}": "House", f"name-{long}": "Moon base"}
    none = {"chosen": [numbers["n/a?"]], "bulk": "none", "decisions": carried}
    shown = lead.post(f"{TYPES}preview/", {**fields, **none}).content.decode()
    assert "5 spellings will be mapped differently" in shown
    assert "Confirms the current mapping" not in shown
    sent = {"decisions": json.dumps(decisions_in(shown)), "seen": seen_in(shown)}
    text = lead.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert "New writes use it immediately." in text
    assert "4 values reviewed, 5 spellings mapped differently" in text
    change = MappingChange.objects.get()
    correct = f"/rollout/mapping-changes/{change.pk}/correct/"
    assert correct in text
    assert "8 rows will be written" in text_of(lead, correct)
    assert lead.post(correct).status_code == 302
    rollouts.work()
    left = AuditReport.objects.all()[0]
    assert left.categories["computed_differs"] == left.mismatched == 3
    everything_left = f"/rollout/audits/{left.pk}/repair/"
    page = text_of(lead, everything_left)
    assert "Repair rows of every table?" in page
    assert "3 rows will be written" in page
    assert lead.post(everything_left).status_code == 302
    rollouts.work()
    assert AuditReport.objects.all()[0].status == "clean"
    assert 'name="form-' not in text_of(lead, link), "no text is left that nothing maps"


def take_long_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database gives every count up, as it does those of a large table."""
    from psycopg import sql

    from rollout.engine import mapping
    from rollout.engine.mapping import texts, transactions

    real = texts.counts_of

    def slow(connection: Any, lookup: Any, condition: Any) -> dict[str, int] | None:
        return real(connection, lookup, sql.SQL("pg_sleep(5) IS NOT NULL"))

    monkeypatch.setattr(texts, "COUNT_SECONDS", 0.05)
    monkeypatch.setattr(transactions, "counts_of", slow)
    monkeypatch.setattr(mapping, "counts_of", slow)


def test_texts_that_take_too_long_to_count_are_those_of_the_newest_audit_and_can_be_decided(
    filled: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.models import AuditReport, MappingChange
    from tests import rollouts

    take_long_to_count(monkeypatch)
    lead, link = browser_of("lead"), f"{TYPES}?show=unmapped"
    write_around_the_triggers(rows=3, type="Moon base 1")
    first = AuditReport.objects.latest("pk")
    lead.get(f"{TYPES}?count=anew")
    page = text_of(lead, TYPES)
    assert "Counting rows per value takes longer than 15 s." in page
    assert f'<a href="/rollout/audits/{first.pk}/">audit {first.pk}</a>, ' in page
    assert '<dd class="number">300' in page
    assert "Moon base" not in page
    audited(lead)
    page = text_of(lead, link)
    assert values_in(page) == ["Moon base 1"]
    assert '<td class="number">3</td>' in page
    number = number_of(fields_of(page), "moon base 1")
    shown = lead.post(f"{TYPES}preview/", {**fields_of(page), f"name-{number}": "House"})
    sent = {
        "decisions": json.dumps(decisions_in(shown.content.decode())),
        "seen": seen_in(shown.content.decode()),
    }
    lead.post(f"{TYPES}apply/", sent)
    lead.post(f"/rollout/mapping-changes/{MappingChange.objects.get().pk}/correct/")
    rollouts.work()
    assert AuditReport.objects.latest("pk").status == "clean"


def test_rows_that_a_repair_of_an_audit_has_put_right_are_not_to_be_corrected_once_more(
    properties: Rollout, engineer: Client
) -> None:
    reviewed(properties)
    assert "12 rows still have the previous value" in text_of(engineer, TYPES)
    journal.audited(properties, started_at=timezone.now())
    assert "still have the previous value" not in text_of(engineer, TYPES)
    reviewed(properties)
    assert "12 rows still have the previous value" in text_of(engineer, TYPES)


def test_before_any_audit_the_texts_that_take_too_long_to_count_are_those_of_a_sample(
    engineer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_long_to_count(monkeypatch)
    engineer.get(f"{TYPES}?count=anew")
    page = text_of(engineer, TYPES)
    assert "these are the values in a sample of rows. Phase 2 maps all of them." in page
    assert '<td class="number">–</td>' in page
    assert "Bungalow" in values_in(page)


def test_before_phase_2_a_decision_says_that_phase_2_will_follow_it(
    properties: Rollout, engineer: Client
) -> None:
    page = preview(engineer, apt="Apartment")
    assert "Phase 2 has not run yet" in page
    sent = {"decisions": json.dumps(decisions_in(page)), "seen": seen_in(page)}
    text = engineer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert "Mapping updated. Phase 2 will use it." in text
    assert "New writes use it" not in text


def test_the_address_of_the_new_texts_leads_to_the_page_that_shows_them(
    filled: Rollout, engineer: Client
) -> None:
    response = engineer.get(f"{TYPES}new/")
    assert (response.status_code, response["Location"]) == (302, f"{TYPES}?show=new")
    assert "<html" in engineer.get(f"{TYPES}new/", follow=True).content.decode()


def test_every_lookup_of_the_plan_is_listed(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, LIST)
    for shown in ("properties.type", "property_statuses", "Proposed (applied by phase 2)", "never"):
        assert shown in text
    reviewed(rollout)
    assert "grace" in fragment_of(viewer, LIST)


def test_a_lookup_that_the_plan_lacks_is_not_found(rollout: Rollout, viewer: Client) -> None:
    response = viewer.get(f"{LIST}properties/price/")
    assert response.status_code == 404


def test_each_value_has_its_rows_what_it_becomes_and_why(engineer: Client) -> None:
    text = text_of(engineer, TYPES)
    fields = fields_of(text)
    number = number_of(fields, "house for sale")
    assert fields[f"name-{number}"] == "House for sale"
    assert fields[f"like-{number}"].lower() == "house"
    assert "starts with it" in text
    assert "spellings" in text


def test_placeholders_are_offered_no_value_and_progress_counts_what_people_reviewed(
    filled: Rollout, engineer: Client
) -> None:
    from tests import rollouts

    with rollouts.target() as application:
        application.execute(
            "UPDATE properties SET type = 'n/a' WHERE id ="
            " (SELECT id FROM properties ORDER BY id LIMIT 1)"
        )
    text = text_of(engineer, TYPES)
    fields = fields_of(text)
    number = number_of(fields, "n/a")
    assert fields[f"like-{number}"] == ""
    assert ">no value</button> (placeholder)" in text
    of = re.search(r"<dd class=\"number\">0 of (\d+) ", text)
    assert of is not None
    sent = {**fields, "chosen": [number], "bulk": "like"}
    shown = engineer.post(f"{TYPES}preview/", sent).content.decode()
    assert decisions_in(shown) == [["n/a", None, False]]
    typed = engineer.post(f"{TYPES}preview/", {**fields, f"name-{number}": ""}).content.decode()
    assert decisions_in(typed) == decisions_in(shown), "an emptied field means no value"
    sent = {"decisions": json.dumps(decisions_in(shown)), "seen": seen_in(shown)}
    after = engineer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert f'<dd class="number">1 of {of[1]} ' in after


def test_a_viewer_reads_and_has_no_fields(properties: Rollout) -> None:
    text = text_of(browser_of("viewer"), TYPES)
    assert "House for sale" in text
    assert 'name="name-' not in text
    assert 'type="file"' not in text


def test_what_is_typed_is_previewed_decided_in_ones_name_and_listed(
    filled: Rollout, engineer: Client
) -> None:
    from rollout.models import MappingChange

    page = preview(engineer, apt="Apartment", condominium="Condo")
    assert "Apply changes" in page
    assert "Lookup rows retired" in page
    assert not MappingChange.objects.exists()
    sent = {"decisions": json.dumps(decisions_in(page)), "seen": seen_in(page)}
    response = engineer.post(f"{TYPES}apply/", sent, follow=True)
    change = MappingChange.objects.get()
    assert change.reviewer == "engineer"
    text = response.content.decode()
    assert f"Update {change.rows_affected}" in text
    assert "Set by <strong>engineer</strong>" in text
    again = engineer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert "already has this mapping" in again
    assert MappingChange.objects.count() == 1
    correct = text_of(engineer, f"/rollout/mapping-changes/{change.pk}/correct/")
    assert f"{change.rows_affected} row" in correct
    assert engineer.post(f"/rollout/mapping-changes/{change.pk}/correct/").status_code == 302
    assert change.repairs.exists()


@pytest.mark.parametrize(
    ("bulk", "expected"),
    [
        ("to", ["home", False]),
        ("like", ["house", False]),
        ("none", [None, False]),
        ("rule", [None, True]),
        ("keep", ["house for sale", False]),
    ],
)
def test_all_that_are_ticked_can_be_decided_at_once(
    engineer: Client, bulk: str, expected: list[object]
) -> None:
    fields = fields_of(text_of(engineer, TYPES))
    number = number_of(fields, "house for sale")
    sent = {**fields, "chosen": [number], "bulk": bulk, "to": "Home"}
    page = engineer.post(f"{TYPES}preview/", sent).content.decode()
    ((form, name, by_rule),) = decisions_in(page)
    assert form == "house for sale"
    assert [name and str(name).lower(), by_rule] == expected


def test_a_press_without_a_change_goes_back_and_says_so(engineer: Client) -> None:
    fields = fields_of(text_of(engineer, TYPES))
    response = engineer.post(f"{TYPES}preview/", fields, follow=True)
    assert "Change a value first." in response.content.decode()


def test_what_cannot_be_decided_comes_back_with_all_that_was_typed(engineer: Client) -> None:
    fields = fields_of(text_of(engineer, TYPES))
    house, villa = number_of(fields, "house"), number_of(fields, "villa")
    fields |= {f"name-{house}": "Villa", f"name-{villa}": "Country house"}
    response = engineer.post(f"{TYPES}preview/", fields)
    assert response.status_code == 422
    text = response.content.decode()
    assert "Not saved." in text
    assert "the value “Villa” itself maps to" in text
    kept = fields_of(text)
    assert kept[f"name-{number_of(kept, 'house')}"] == "Villa"
    assert kept[f"name-{number_of(kept, 'villa')}"] == "Country house"


def test_who_changes_something_in_a_preview_finds_it_filled_in(engineer: Client) -> None:
    page = preview(engineer, apt="Apartment")
    sent = {"decisions": json.dumps(decisions_in(page)), "edit": "1"}
    kept = fields_of(engineer.post(f"{TYPES}preview/", sent).content.decode())
    assert kept[f"name-{number_of(kept, 'apt')}"] == "Apartment"


def test_a_file_comes_back_as_a_preview(engineer: Client) -> None:
    lines = b"".join(engineer.get(f"{TYPES}export.csv").streaming_content)  # type: ignore[attr-defined]
    assert lines.startswith(b"legacy,rows,lookup,why,decided_by\r\n")
    changed = lines.replace(b",Villa,", b",Country house,")
    page = engineer.post(
        f"{TYPES}preview/", {"file": SimpleUploadedFile("mapping.csv", changed)}
    ).content.decode()
    assert "Country house" in page
    assert "Apply changes" in page


def test_a_file_with_wrong_lines_is_told_by_line(engineer: Client) -> None:
    data = SimpleUploadedFile("m.csv", f"legacy,lookup\r\n{HOSTILE},x\r\n".encode())
    response = engineer.post(f"{TYPES}preview/", {"file": data})
    assert response.status_code == 422
    text = response.content.decode()
    assert "Line 2: " in text
    assert "<img src=x" not in text


@pytest.mark.parametrize("made_up", ["{", "[1]", '{"a": 1}', "null", "[[]]", '[["a", {}, 1]]'])
def test_what_no_preview_wrote_decides_nothing(engineer: Client, made_up: str) -> None:
    from rollout.models import MappingChange

    response = engineer.post(f"{TYPES}apply/", {"decisions": made_up, "seen": "x"})
    assert response.status_code in (302, 409)
    assert not MappingChange.objects.exists()


def test_what_the_application_writes_later_is_shown_when_the_page_asks_again(
    filled: Rollout, engineer: Client
) -> None:
    from tests import rollouts

    address = f"{TYPES}new/"
    assert "to review" not in fragment_of(engineer, address)
    with rollouts.target() as application:
        application.execute(
            "UPDATE properties SET type = %s WHERE id = (SELECT min(id::text)::uuid"
            " FROM properties)",
            [HOSTILE],
        )
    text = fragment_of(engineer, address)
    assert "1 new value to review" in text
    assert "<img src=x" not in text
    assert "Review 1 new" in text_of(engineer, LIST)
    assert "&lt;img src=x" in text_of(engineer, f"{TYPES}?show=new")
    assert (
        "Villa"
        not in text_of(engineer, f"{TYPES}?show=new")
        .partition("<tbody>")[2]
        .partition("</tbody>")[0]
    )


def values_in(text: str) -> list[str]:
    """The values of the table, as they stand there."""
    table = text.partition("<tbody>")[2].partition("</tbody>")[0]
    shown = re.findall(r'<th scope="row">(<(code|span) .*?</\2>)', table)
    return [re.sub("<[^>]*>", "", element) for element, _ in shown]


@pytest.mark.parametrize(
    ("asked", "is_there"),
    [
        ("?q=villa", True),
        ("?show=similar", False),
        ("?show=open", True),
        ("?show=unmapped", False),
        ("?why=exact", True),
        ("?why=synonym", False),
        ("?order=a-to-z&after=vill", True),
        ("?order=z-to-a&after=vill", False),
    ],
)
def test_values_can_be_found(engineer: Client, asked: str, is_there: bool) -> None:
    assert ("Villa" in values_in(text_of(engineer, TYPES + asked))) == is_there


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("?show=x", "Invalid filters were ignored."),
        ("?why=x", "Invalid filters were ignored."),
        ("?order=x", "Unknown sort order"),
        ("?after=x", "Invalid page link"),
        ("?after=" + "9" * 40 + ".villa", "Invalid page link"),
    ],
)
def test_what_makes_no_sense_in_the_address_is_said_and_the_values_are_shown(
    engineer: Client, asked: str, says: str
) -> None:
    text = text_of(engineer, TYPES + asked)
    assert says in text
    assert "Villa" in values_in(text)


def test_a_filter_that_no_value_matches_leads_back_to_all(engineer: Client) -> None:
    text = text_of(engineer, f"{TYPES}?q=nothing-like-it")
    assert f'No value matches. <a href="{TYPES}">Show all values</a>' in text


def number_in(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("order", ["most-rows", "fewest-rows", "a-to-z", "z-to-a"])
def test_every_value_is_on_one_page_whatever_the_order(
    engineer: Client, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    from rollout.console.views import mappings

    def pages(size: int) -> list[str]:
        monkeypatch.setattr(mappings, "MAX_VALUES_ON_PAGE", size)
        texts = [text_of(engineer, TYPES, order=order)]
        while following := re.search(r'rel="next" href="([^"]*)', texts[-1]):
            texts.append(text_of(engineer, unescape(following[1])))
        return texts

    (whole,), parts = pages(100), pages(3)
    values = values_in(whole)
    assert [value for part in parts for value in values_in(part)] == values
    assert len(parts) == -(-len(values) // 3)
    texts = [value.casefold().replace("(empty string)", "") for value in values]
    rows = [
        number_in(n) for n in re.findall(r'<td class="number">([\d,]+)', whole.split("bulk")[0])
    ]
    expected = {
        "a-to-z": (texts, sorted(texts)),
        "z-to-a": (texts, sorted(texts, reverse=True)),
        "most-rows": (rows[: len(values)], sorted(rows[: len(values)], reverse=True)),
        "fewest-rows": (rows[: len(values)], sorted(rows[: len(values)])),
    }[order]
    assert expected[0] == expected[1]


def test_whoever_decides_stays_with_the_filter_and_on_the_page(engineer: Client) -> None:
    at = "?show=open&order=a-to-z&after=castle"
    text = text_of(engineer, TYPES + at)
    fields = fields_of(text.partition("<tbody>")[2])
    fields[f"name-{number_of(fields, 'villa')}"] = "Country house"
    page = engineer.post(f"{TYPES}preview/{at}", fields).content.decode()
    here = at.replace("&", "&amp;")
    assert f'action="{TYPES}apply/{here}"' in page
    assert f'href="{TYPES}{here}"' in page
    sent = {"decisions": json.dumps(decisions_in(page))}
    edited = engineer.post(f"{TYPES}preview/{at}", {**sent, "edit": "1"}).content.decode()
    assert values_in(edited)[0] == "Villa"
    assert values_in(edited)[1:] == [value for value in values_in(text) if value != "Villa"]
    assert f'href="{TYPES}?show=open&amp;order=z-to-a"' in edited
    done = engineer.post(f"{TYPES}apply/{at}", {**sent, "seen": seen_in(page)})
    assert (done.status_code, done["Location"]) == (302, TYPES + at)
    nothing = engineer.post(f"{TYPES}preview/{at}", {})
    assert nothing["Location"] == TYPES + at


class TestManyValues:
    """What is kept of a lookup with many texts, here with more than one."""

    @pytest.fixture(autouse=True)
    def few_are_many(self, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
        from rollout.console import mapping_counts

        settings.ROLLOUT = {**settings.ROLLOUT, "SHARE_PARTS": True}
        monkeypatch.setattr(mapping_counts, "MANY", 1)

    def test_they_are_read_once_until_somebody_decides(
        self, filled: Rollout, engineer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from rollout.engine import mapping

        read: list[object] = []
        review = mapping.review

        def reading(*given: Any, **named: Any) -> Any:
            read.append(given)
            return review(*given, **named)

        monkeypatch.setattr(mapping, "review", reading)
        for query in ("", "?order=a-to-z", "?q=villa"):
            text_of(engineer, TYPES + query)
        assert len(read) == 1
        page = preview(engineer, villa="Country house")
        sent = {"decisions": json.dumps(decisions_in(page)), "seen": seen_in(page)}
        text = engineer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
        assert 'value="Country house"' in text
        assert len(read) == 2

    def test_a_text_that_comes_meanwhile_is_among_them(
        self, filled: Rollout, engineer: Client
    ) -> None:
        from tests import rollouts

        assert "Lighthouse" not in values_in(text_of(engineer, TYPES, show="new"))
        with rollouts.target() as application:
            application.execute(
                "UPDATE properties SET type = 'Lighthouse'"
                " WHERE id = (SELECT min(id::text)::uuid FROM properties)"
            )
        text = text_of(engineer, TYPES, show="new")
        assert "Lighthouse" in values_in(text), "what the notice counts, the filter shows"
        assert "1 new value to review" in text
        engineer.get(TYPES, {"count": "anew"}, follow=True)
        assert "Lighthouse" in values_in(text_of(engineer, TYPES, show="new"))

    def test_what_an_audit_found_unmapped_is_among_them(
        self, filled: Rollout, engineer: Client
    ) -> None:
        from rollout.runner.audits import make_now

        assert "Moon base" not in values_in(text_of(engineer, TYPES, show="unmapped"))
        write_around_the_triggers(type="Moon base")
        make_now(filled, actor_name="ada", source="shell")
        assert "Moon base" in values_in(text_of(engineer, TYPES, show="unmapped"))

    def test_too_many_to_compare_each_are_said_to_be(
        self, engineer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from rollout.console import mapping_forms

        monkeypatch.setattr(mapping_forms, "MAX_COMPARED", 2)
        text = text_of(engineer, TYPES, show="similar")
        assert "too many for suggestions. Narrow the search." in text
        assert "Villa" in values_in(text)


def test_the_page_asks_the_journal_as_often_whatever_the_number_of_values(
    filled: Rollout, engineer: Client, django_assert_max_num_queries: object
) -> None:
    for _ in range(5):
        reviewed(filled)
    with django_assert_max_num_queries(24):  # type: ignore[operator]
        text_of(engineer, TYPES)


def test_while_a_run_is_at_work_the_page_reads_and_says_why(
    properties: Rollout, engineer: Client
) -> None:
    from tests.console.journal import ran

    ran(properties, 0, "running")
    text = text_of(engineer, TYPES)
    assert "is running" in text
    assert 'name="name-' not in text
