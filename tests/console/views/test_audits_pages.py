"""What an engineer sees and does from a report on: cells, rows, findings, repairs, comparisons."""

import json
from functools import partial

import pytest

from rollout.models import AuditReport, Finding, Rollout
from tests.console.audit_reports import HOSTILE, a_report, a_row, texts_of
from tests.console.journal import PAGE, audited, browser_of, queries_of, text_of
from tests.console.views.test_findings import TestFindings

pytestmark = pytest.mark.django_db


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


@pytest.mark.parametrize(
    ("authority", "sentence"),
    [
        ("new", "After the cutover the audit runs in reverse: it checks that each legacy value"),
        ("archive", "The legacy columns are archived: legacy values are read as a rollback"),
    ],
)
def test_a_report_says_which_values_were_right_when_it_was_made(
    rollout: Rollout, authority: str, sentence: str
) -> None:
    client = browser_of("viewer")
    for status in ("clean", "mismatched"):
        report = audited(rollout, status, authority=authority)
        assert sentence in text_of(client, report.get_absolute_url())
        report = audited(rollout, status)
        assert sentence not in text_of(client, report.get_absolute_url())


def test_why_a_row_can_have_no_value_is_told_in_plain_words(report: AuditReport) -> None:
    client = browser_of("viewer")
    a_row(report, "key-4", legacy="1.2m", actual=None, category="undecided")
    row = report.found.get(key="key-4")
    row.expected = 'no value: invalid input syntax for type numeric: "1.2m"'
    row.save(update_fields=["expected"])
    assert row.finding is not None
    for page in (report.get_absolute_url(), row.finding.get_absolute_url()):
        shown = texts_of(client, page)
        assert "no value: “1.2m” is not a number" in shown
        assert "invalid input syntax" not in shown
    file = client.get(f"{report.get_absolute_url()}export.json")
    stored = b"".join(file.streaming_content).decode()  # type: ignore[attr-defined]
    assert "invalid input syntax for type numeric" in stored, "as the audit stored it"
