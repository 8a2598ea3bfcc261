"""What an engineer sees and does from a report on: cells, rows, findings, repairs, comparisons."""

import json
from datetime import date, timedelta
from functools import partial
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from rollout.models import AuditReport, Finding, Mismatch, Rollout
from tests.console.journal import PAGE, audited, browser_of, mismatching, queries_of, text_of

pytestmark = pytest.mark.django_db

HOSTILE = '=cmd|"<script>alert(1)</script>'
CELLS = [
    {"legacy": "House", "new": "House", "category": "ok", "rows": 90},
    {"legacy": HOSTILE, "new": "Flat", "category": "wrong", "rows": 2},
    {"legacy": None, "new": None, "category": "missing", "rows": 1},
]


@pytest.fixture
def report(rollout: Rollout) -> AuditReport:
    return a_report(rollout)


def a_report(rollout: Rollout) -> AuditReport:
    report = audited(
        rollout,
        "mismatched",
        rows=93,
        matched=90,
        mismatched=3,
        stored_mismatches=3,
        categories={"ok": 90, "wrong": 2, "missing": 1},
        translations=[
            {
                "table": "properties",
                "column": "property_type_id",
                "legacy_column": "type",
                "lookup_table": "property_types",
                "categories": {"ok": 90, "wrong": 2, "missing": 1},
                "cells": CELLS,
            }
        ],
    )
    for number in (1, 2):
        a_row(report, f"key-{number}", legacy=HOSTILE, actual="Flat", category="wrong")
    a_row(report, "key-3", legacy=None, actual=None, category="missing")
    return report


def a_row(report: AuditReport, key: str, **fields: str | None) -> Mismatch:
    finding, _ = Finding.objects.get_or_create(
        rollout=report.rollout,
        table="properties",
        key=key,
        column="property_type_id",
        defaults={"category": "wrong", "first_report": report},
    )
    row = mismatching(report, key, column="property_type_id", expected="House", **fields)
    Mismatch.objects.filter(pk=row.pk).update(finding=finding, key_parts=[key])
    return row


def test_a_cell_leads_to_its_rows_and_to_no_others(report: AuditReport) -> None:
    client = browser_of("viewer")
    page = f"/rollout/audits/{report.pk}/"
    whole = text_of(client, page)
    assert "?cell=0.1" in whole
    assert "?cell=0.0" in whole
    rows = text_of(client, page, cell="0.1")
    assert ("key-1" in rows, "key-2" in rows, "key-3" in rows) == (True, True, False)
    finding = Finding.objects.get(key="key-1")
    assert f'<a href="/rollout/findings/{finding.pk}/"><code>key-1</code></a>' in rows
    rows = text_of(client, page, cell="0.2")
    assert ("key-1" in rows, "key-3" in rows) == (False, True)


def test_a_cell_that_matches_says_when_no_row_is_like_it_any_more(report: AuditReport) -> None:
    rows = text_of(browser_of("viewer"), f"/rollout/audits/{report.pk}/", cell="0.0")
    assert "Rows in this cell" in rows
    assert "No rows match this pair any more" in rows
    assert "key-1" not in rows


@pytest.mark.parametrize("cell", ["", "x", "9.9", "0.", "-1.0", "0.99", "'"])
def test_a_cell_that_is_not_there_shows_all_rows(report: AuditReport, cell: str) -> None:
    assert "key-3" in text_of(browser_of("viewer"), f"/rollout/audits/{report.pk}/", cell=cell)


class TestFindings:
    def page(self, key: str = "key-1") -> str:
        return f"/rollout/findings/{Finding.objects.get(key=key).pk}/"

    def test_a_row_has_its_history_in_every_report(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        second = a_report(rollout)
        text = text_of(browser_of("viewer"), self.page())
        assert f"Audit {report.pk}" in text
        assert f"Audit {second.pk}" in text
        assert "<script>" not in text

    def test_a_lead_accepts_a_mismatch_and_takes_it_back(self, report: AuditReport) -> None:
        lead = browser_of("lead")
        day = date.today() + timedelta(days=5)
        sent = {"reason": "Sold in 1999.", "until": f"{day}"}
        assert lead.post(f"{self.page()}waive/", sent).status_code == 302
        text = text_of(lead, self.page())
        assert "Sold in 1999." in text
        assert Finding.objects.get(key="key-1").waived_until > timezone.now() + timedelta(days=4)  # type: ignore[operator]
        lead.post(f"{self.page()}unwaive/")
        assert "Sold in 1999." not in text_of(lead, self.page())

    @pytest.mark.parametrize("until", ["", "yesterday", "2020-01-01"])
    def test_typed_input_is_not_lost_with_a_wrong_day(
        self, report: AuditReport, until: str
    ) -> None:
        response = browser_of("lead").post(
            f"{self.page()}waive/", {"reason": "Because.", "until": until}, follow=True
        )
        assert Finding.objects.get(key="key-1").waived_by == ""
        if response.status_code == 422:
            assert "Because." in response.content.decode()

    def test_a_viewer_is_offered_nothing(self, report: AuditReport) -> None:
        text = text_of(browser_of("viewer"), self.page())
        assert "Waive" not in text
        assert "Repair" not in text


class TestComparisons:
    def test_categories_and_pairs_that_differ_are_shown_side_by_side(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        clean = audited(rollout, rows=93, categories={"ok": 93}, translations=[])
        text = text_of(browser_of("viewer"), f"/rollout/audits/{report.pk}/compare/{clean.pk}/")
        assert "\N{MINUS SIGN}2" in text
        assert "+3" in text

    def test_columns_of_no_lookup_have_counts_and_no_values(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        cell = {"legacy": None, "new": None, "category": "ok"}
        currency = {"table": "properties", "column": "currency", "lookup_table": ""}
        earlier, later = (
            audited(
                rollout, rows=rows, translations=[{**currency, "cells": [{**cell, "rows": rows}]}]
            )
            for rows in (90, 113)
        )
        address = f"/rollout/audits/{earlier.pk}/compare/{later.pk}/"
        text = text_of(browser_of("viewer"), address)
        assert "<code>currency</code>" in text
        assert "NULL" not in text
        assert text.count("+23") == 2, "of the column, and of the total"
        assert "mapp" not in text.split("<h1>")[1].split("</header>")[0]

    def test_only_what_people_changed_is_a_change_of_the_mapping(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        now = timezone.now()
        first = audited(rollout, mapping_digest="a", mapping_at=now, translations=[])
        second = audited(rollout, mapping_digest="b", mapping_at=now, translations=[])
        later = now + timedelta(minutes=1)
        third = audited(rollout, mapping_digest="c", mapping_at=later, translations=[])
        client = browser_of("viewer")
        for other, sentence in (
            (second, "New values came to the mapping between these audits; nobody changed a dec"),
            (third, "People changed the mapping between these audits."),
        ):
            address = f"/rollout/audits/{first.pk}/compare/{other.pk}/"
            assert sentence in text_of(client, address)

    def test_only_finished_audits_of_one_rollout_can_be_compared(
        self, rollout: Rollout, report: AuditReport
    ) -> None:
        running = audited(rollout, "running")
        other = audited(Rollout.objects.create(plan=rollout.plan, environment="elsewhere"))
        client = browser_of("viewer")
        for number in (running.pk, other.pk, 99_999):
            address = f"/rollout/audits/{report.pk}/compare/{number}/"
            assert client.get(address).status_code == 404


class TestDownloads:
    def test_csv_and_json_have_every_row_and_no_formula(self, report: AuditReport) -> None:
        client = browser_of("viewer")
        answer = client.get(f"/rollout/audits/{report.pk}/export.csv")
        text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        assert "attachment" in answer["Content-Disposition"]
        assert text.count("key-") == 3
        assert "\n=" not in text
        assert ",=" not in text
        assert ',"=' not in text
        answer = client.get(f"/rollout/audits/{report.pk}/pairs.csv")
        pairs = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
        assert pairs.startswith("table,column,legacy_column,legacy,new,category,rows\r\n")
        assert "type,House,House,ok,90" in pairs
        assert ",\"'=cmd" in pairs
        answer = client.get(f"/rollout/audits/{report.pk}/export.json")
        rows = json.loads(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
        assert [row["key"] for row in rows] == ["key-1", "key-2", "key-3"]
        assert rows[0]["legacy"] == HOSTILE

    def test_a_running_audit_has_none(self, rollout: Rollout) -> None:
        running = audited(rollout, "running")
        client = browser_of("viewer")
        assert client.get(f"/rollout/audits/{running.pk}/export.csv").status_code == 404


class TestSamples:
    def test_a_sampled_audit_is_started_with_rows_and_seed(self, rollout: Rollout) -> None:
        engineer = browser_of("engineer")
        engineer.post(f"{PAGE}audits/", {"sample": "500", "seed": "7"})
        report = AuditReport.objects.get()
        assert (report.mode, report.rows, report.seed) == ("sampled", 500, 7)

    @pytest.mark.parametrize("sample", ["0", "-1", "x", "99999999999", ""])
    def test_a_size_that_cannot_be_starts_nothing(self, rollout: Rollout, sample: str) -> None:
        response = browser_of("engineer").post(
            f"{PAGE}audits/", {"sample": sample, "seed": ""}, follow=True
        )
        assert response.status_code == 200
        assert not AuditReport.objects.exists()

    def test_the_report_of_a_sample_says_what_it_proves_and_what_it_does_not(
        self, rollout: Rollout
    ) -> None:
        report = audited(
            rollout,
            mode="sampled",
            rows=10_000,
            population=10_000_000,
            seed=42,
            confidence=0.95,
            upper_rate=0.0002995,
            categories={"ok": 10_000},
        )
        text = text_of(browser_of("viewer"), f"/rollout/audits/{report.pk}/")
        assert "Examined 10,000 of 10,000,000 rows, uniformly at random, seed 42." in text
        assert "at most 2,995 rows" in text
        assert "This does not prove that there are none." in text


def test_queries_do_not_grow_with_reports_and_rows(rollout: Rollout, report: AuditReport) -> None:
    client = browser_of("engineer")
    pages = (f"{PAGE}audits/", f"/rollout/audits/{report.pk}/", TestFindings().page())

    def queries() -> list[int]:
        return [queries_of(partial(text_of, client, page)) for page in pages]

    a_report(rollout)
    before = queries()
    for _ in range(5):
        a_report(rollout)
    for number in range(20):
        a_row(report, f"more-{number}", legacy="x", actual="y", category="wrong")
    assert queries() == before


def texts_of(client: Client, page: str) -> str:
    """What a person reads of a page."""
    return " ".join(unescape(strip_tags(text_of(client, page))).split())


def test_conflicting_writes_are_shown_with_application_column_and_newest_row(
    rollout: Rollout,
) -> None:
    """An audit is clean all the same: the side in authority has won."""
    note = {
        "table": "properties",
        "column": "property_type_id",
        "application": "shop 2.0",
        "writes": 1_200,
        "key": ["key-1", "b"],
        "legacy": HOSTILE,
        "new": None,
        "at": "2026-02-03T04:05:06+00:00",
    }
    report = audited(rollout, conflicting_writes=[note, {**note, "application": "", "writes": 1}])
    client = browser_of("viewer")
    shown = texts_of(client, f"/rollout/audits/{report.pk}/")
    assert "Conflicting writes1,201 writes" in shown
    assert "shop 2.0 properties.property_type_id 1,200" in shown
    assert "No application_name properties.property_type_id 1 " in shown
    assert f"key-1,b {HOSTILE}" in shown
    listed = texts_of(client, f"{PAGE}audits/")
    assert "1,201 conflicting writes. An application gave both columns different values." in listed
    audited(rollout)
    assert "conflicting" not in texts_of(client, f"{PAGE}audits/")
