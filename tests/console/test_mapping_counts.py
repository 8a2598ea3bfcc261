"""Texts of a mapping review that are new, or too many to count while somebody waits."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.console import journal
from tests.console.journal import PAGE, browser_of, reviewed, text_of
from tests.console.views.mapping_pages import (
    LIST,
    TYPES,
    applied_by,
    audited,
    decisions_in,
    fields_of,
    number_of,
    preview,
    take_long_to_count,
    values_in,
    write_around_the_triggers,
)

if TYPE_CHECKING:
    from rollout.models import Rollout


def test_texts_that_no_mapping_knows_come_to_a_clean_audit_by_the_pages_alone(
    filled: Rollout,
) -> None:
    """Audit, review, correct, audit: every step by a link or a form that the page before it has."""
    from rollout.models import AuditReport, MappingChange
    from tests.support import rollouts

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
    sent = applied_by(shown)
    text = lead.post(f"{TYPES}apply/", sent, follow=True).content.decode()
    assert "New writes use it immediately." in text
    assert "4 values of properties.type reviewed, 5 spellings mapped differently" in text
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
    assert "Repair 3 rows of <code>properties</code>?" in page
    assert "3 rows will be written" in page
    assert lead.post(everything_left).status_code == 302
    rollouts.work()
    assert AuditReport.objects.all()[0].status == "clean"
    assert 'name="form-' not in text_of(lead, link), "no text is left that nothing maps"


def test_texts_that_take_too_long_to_count_are_those_of_the_newest_audit_and_can_be_decided(
    filled: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.models import AuditReport, MappingChange
    from tests.support import rollouts

    take_long_to_count(monkeypatch)
    lead, link = browser_of("lead"), f"{TYPES}?show=unmapped"
    write_around_the_triggers(rows=3, type="Moon base 1")
    first = AuditReport.objects.latest("pk")
    lead.get(f"{TYPES}?count=anew", follow=True)
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
    lead.post(f"{TYPES}apply/", applied_by(shown.content.decode()))
    lead.post(f"/rollout/mapping-changes/{MappingChange.objects.get().pk}/correct/")
    rollouts.work()
    assert AuditReport.objects.latest("pk").status == "clean"


def test_rows_that_an_audit_had_repaired_are_not_corrected_once_more(
    properties: Rollout, reviewer: Client
) -> None:
    reviewed(properties)
    assert "12 rows still have the previous value" in text_of(reviewer, TYPES)
    journal.audited(properties, started_at=timezone.now())
    assert "still have the previous value" not in text_of(reviewer, TYPES)
    reviewed(properties)
    assert "12 rows still have the previous value" in text_of(reviewer, TYPES)


def test_before_any_audit_the_texts_that_take_too_long_to_count_are_those_of_a_sample(
    reviewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_long_to_count(monkeypatch)
    reviewer.get(f"{TYPES}?count=anew", follow=True)
    page = text_of(reviewer, TYPES)
    assert "these are the values in a sample of rows. Phase 2 maps all of them." in page
    assert '<td class="number">–</td>' in page
    assert "Bungalow" in values_in(page)


class TestManyValues:
    """What is kept of a lookup with many texts, here with more than one."""

    @pytest.fixture(autouse=True)
    def few_are_many(self, monkeypatch: pytest.MonkeyPatch, shared_parts: None) -> None:
        from rollout.console import mapping_counts

        monkeypatch.setattr(mapping_counts, "MANY_TEXTS", 1)

    def test_counts_are_read_once_until_somebody_decides(
        self, filled: Rollout, reviewer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from rollout.engine import mapping

        read: list[object] = []
        review = mapping.review

        def reading(*given: Any, **named: Any) -> Any:
            read.append(given)
            return review(*given, **named)

        monkeypatch.setattr(mapping, "review", reading)
        for query in ("", "?order=a-to-z", "?q=villa"):
            text_of(reviewer, TYPES + query)
        assert len(read) == 1
        page = preview(reviewer, villa="Country house")
        sent = applied_by(page)
        text = reviewer.post(f"{TYPES}apply/", sent, follow=True).content.decode()
        assert 'value="Country house"' in text
        assert len(read) == 2

    def test_a_text_that_comes_meanwhile_is_among_them(
        self, filled: Rollout, reviewer: Client
    ) -> None:
        from tests.support import rollouts

        assert "Lighthouse" not in values_in(text_of(reviewer, TYPES, show="new"))
        with rollouts.target() as application:
            application.execute(
                "UPDATE properties SET type = 'Lighthouse'"
                " WHERE id = (SELECT min(id::text)::uuid FROM properties)"
            )
        text = text_of(reviewer, TYPES, show="new")
        assert "Lighthouse" in values_in(text), "what the notice counts, the filter shows"
        assert "1 new value to review" in text
        reviewer.get(TYPES, {"count": "anew"}, follow=True)
        assert "Lighthouse" in values_in(text_of(reviewer, TYPES, show="new"))

    def test_texts_that_an_audit_found_unmapped_are_among_the_counted(
        self, filled: Rollout, reviewer: Client
    ) -> None:
        from rollout.runner.audits import make_now

        assert "Moon base" not in values_in(text_of(reviewer, TYPES, show="unmapped"))
        write_around_the_triggers(type="Moon base")
        make_now(filled, actor_name="ada", source="shell")
        assert "Moon base" in values_in(text_of(reviewer, TYPES, show="unmapped"))

    def test_values_too_many_to_compare_are_said_to_be(
        self, reviewer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from rollout.console import mapping_forms

        monkeypatch.setattr(mapping_forms, "MAX_COMPARED", 2)
        text = text_of(reviewer, TYPES, show="similar")
        assert "too many for suggestions. Narrow the search." in text
        assert "Villa" in values_in(text)

    def test_a_save_brings_no_older_count_back_that_another_process_keeps(
        self, filled: Rollout, reviewer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.core.cache.backends.locmem import LocMemCache

        from rollout.console import mapping_counts

        def process(name: str) -> None:
            kept = LocMemCache(f"{name}-{filled.pk}", {})
            monkeypatch.setattr(mapping_counts, "cache", kept)

        process("other")
        text_of(reviewer, TYPES)
        write_around_the_triggers(rows=3, type="Moon base")
        write_around_the_triggers(rows=1, skip=3, type="Crater")
        process("own")
        page = text_of(reviewer, TYPES)
        assert "Crater" in values_in(page)
        number = number_of(fields_of(page), "moon base")
        process("other")
        assert "Crater" not in values_in(text_of(browser_of("viewer"), TYPES))
        form = re.search(r'action="([^"]*/preview/[^"]*)" aria-labelledby="values', page)
        assert form is not None
        sent = {**fields_of(page), "chosen": [number], "bulk": "none"}
        shown = reviewer.post(unescape(form[1]), sent).content.decode()
        form = re.search(r'action="([^"]*/apply/[^"]*)"', shown)
        assert form is not None
        sent = applied_by(shown)
        after = reviewer.post(unescape(form[1]), sent, follow=True).content.decode()
        assert "1 value of properties.type reviewed" in after
        assert "counted=" not in form[1]
        assert "Crater" in values_in(after)


@pytest.mark.usefixtures("shared_parts")
def test_the_tab_counts_what_the_gate_or_the_page_beside_it_counts(
    filled: Rollout, reviewer: Client
) -> None:
    from rollout import gates
    from tests.gates.test_mappings import write_type

    def tab_in(text: str) -> int:
        badge = re.search(r'(\d+)<span class="visually-hidden"> open values to review', text)
        return int(badge[1]) if badge is not None else 0

    gates.invalidate()
    before = tab_in(text_of(reviewer, PAGE))
    write_type("Moon base 1")
    gates.invalidate()
    page = text_of(reviewer, PAGE)
    assert f"; {before + 1} open: " in page
    assert tab_in(page) == before + 1, "the gate counted anew, and so the tab"
    assert tab_in(text_of(reviewer, f"{PAGE}monitoring/")) == before + 1
    write_type("Moon base 2")
    page = text_of(reviewer, LIST)
    of_lookups = [int(number) for number in re.findall(r"Review (\d+) open</a>", page)]
    assert (sum(of_lookups), tab_in(page)) == (before + 2, before + 2)
    write_type("Moon base 3")
    page = text_of(reviewer, TYPES)
    assert f">Show {of_lookups[0] + 1} open</a>" in page
    assert tab_in(page) == before + 3
