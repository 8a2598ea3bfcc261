from datetime import timedelta
from typing import Any

from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from rollout.models import AuditReport, Rollout
from tests.console import journal
from tests.console.audit_reports import texts_of
from tests.console.journal import PAGE, audited, fragment_of, mismatching, ran, text_of

HOSTILE = '"><img src=x onerror=alert(1)>'


def a_mismatched_report(rollout: Rollout) -> AuditReport:
    return audited(
        rollout,
        "mismatched",
        rows=1000,
        matched=990,
        mismatched=10,
        stored_mismatches=10,
        categories={"ok": 900, "ok_mapped": 90, "wrong": 7, "missing": 3},
        translations=[
            {
                "column": "property_type_id",
                "legacy_column": "type",
                "lookup_table": "property_types",
                "categories": {"ok": 990, "wrong": 10},
                "cells": [
                    pair("Loft", "Loft", "ok", 990),
                    pair(HOSTILE, "House", "wrong", 7),
                    pair(None, "House", "wrong", 3),
                ],
            },
            {
                "column": "currency",
                "legacy_column": "",
                "lookup_table": "",
                "categories": {"ok": 1000},
                "cells": [pair(None, None, "ok", 1000)],
            },
        ],
    )


def pair(legacy: str | None, new: str | None, category: str, rows: int) -> dict[str, Any]:
    return {"legacy": legacy, "new": new, "category": category, "rows": rows}


def test_a_report_shows_counts_categories_and_pairs(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, f"/rollout/audits/{a_mismatched_report(rollout).pk}/")
    assert "10 rows mismatched" in text
    for count in ("1,000", "990", "900"):
        assert count in text
    assert "Not the lookup row that the mapping names." in text
    assert text.index("Wrong lookup row<") < text.index("Mapped<")
    assert "10 mismatched" in text
    assert "from a constant" in text


def test_the_pairs_that_mismatch_come_first(rollout: Rollout, viewer: Client) -> None:
    text = text_of(viewer, f"/rollout/audits/{a_mismatched_report(rollout).pk}/")
    verdict, wrong, rows, right = (
        text.index(part)
        for part in (
            "10 rows mismatched</h2>",
            "Mismatches in <code>property_type_id",
            'id="mismatches"',
            'class="ranked"',
        )
    )
    assert verdict < wrong < rows < right
    assert ("House" in text[wrong:rows], "Loft" in text[wrong:rows]) == (True, False)
    ranked = text[right : text.index("</ol>", right)]
    assert ("Loft" in ranked, "House" in ranked) == (True, False)
    assert '990 <span class="muted">99.0%' in ranked


def test_mismatches_in_one_column_have_one_button_that_repairs_them(
    rollout: Rollout, engineer: Client
) -> None:
    report = a_mismatched_report(rollout)
    page = f"/rollout/audits/{report.pk}/"
    text = text_of(engineer, page)
    assert text.count(f'href="{page}repair/') == 1
    assert "The legacy value, and the value that the rows had in this audit." in text
    report.translations[1]["categories"] = {"ok": 999, "wrong": 1}
    report.save(update_fields=["translations"])
    assert text_of(engineer, page).count(">Repair these rows…</a>") == 2


def test_hostile_legacy_values_are_shown_as_text(rollout: Rollout, viewer: Client) -> None:
    report = a_mismatched_report(rollout)
    mismatching(report, HOSTILE, legacy=HOSTILE, expected=HOSTILE, actual=HOSTILE)
    text = text_of(viewer, f"/rollout/audits/{report.pk}/")
    assert "<img" not in text
    assert "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;" in text


def test_null_and_an_empty_text_are_told_apart(rollout: Rollout, viewer: Client) -> None:
    report = a_mismatched_report(rollout)
    mismatching(report, "1", legacy=None, expected="", actual=" ")
    text = text_of(viewer, f"/rollout/audits/{report.pk}/")
    assert "NULL</span>" in text
    assert "(empty string)</span>" in text
    assert 'title="U+0020 SPACE"> </span></code>' in text


def test_a_mismatching_row_links_to_its_page(
    rollout: Rollout, viewer: Client, settings: LazySettings
) -> None:
    settings.ROLLOUT = {**settings.ROLLOUT, "ROW_URLS": {"properties": "/properties/{key}/"}}
    report = a_mismatched_report(rollout)
    mismatching(report, "a/b?c")
    mismatching(report, "7", table="other")
    text = text_of(viewer, f"/rollout/audits/{report.pk}/")
    assert 'href="/properties/a%2Fb%3Fc/"' in text
    assert '<th scope="row"><code>7</code></th>' in text


def test_mismatching_rows_are_paged_and_filtered(rollout: Rollout, viewer: Client) -> None:
    report = a_mismatched_report(rollout)
    for number in range(30):
        mismatching(report, f"row-{number}-")
    mismatching(report, "other-column", column="currency", category="missing")
    page = f"/rollout/audits/{report.pk}/"
    first = viewer.get(page)
    assert "row-24-" in first.content.decode()
    assert "row-25-" not in first.content.decode()
    second = text_of(viewer, page, after=str(first.context["mismatches"].next))
    assert "row-25-" in second
    assert "other-column" in second
    filtered = text_of(viewer, page, column="currency", category="missing")
    assert "other-column" in filtered
    assert "row-0-" not in filtered


def test_a_running_audit_is_looked_at_until_it_ends(rollout: Rollout, viewer: Client) -> None:
    report = audited(rollout, "running")
    page = f"/rollout/audits/{report.pk}/"
    assert f'hx-get="{page}"' in text_of(viewer, page)
    assert f'hx-get="{PAGE}"' in text_of(viewer, PAGE)
    AuditReport.objects.update(status="clean")
    fragment = fragment_of(viewer, page)
    assert "data-live" not in fragment.partition('id="live"')[2].partition(">")[0]
    assert "Clean: 0 mismatches" in fragment


def test_a_clean_audit_of_before_a_decision_says_that_it_counts_no_longer(
    rollout: Rollout, viewer: Client
) -> None:
    page = f"/rollout/audits/{audited(rollout).pk}/"
    journal.reviewed(rollout, changes=[], rows_changed=0)
    assert "Outdated." not in text_of(viewer, page)
    change = {"legacy": "Apt", "before": "Apt", "after": "Flat", "rows": 12, "moved": False}
    journal.reviewed(rollout, changes=[change])
    text = text_of(viewer, page)
    assert "Outdated.</strong> Older than grace&#x27;s review of" in text
    assert "Run a new audit." in text


def test_a_clean_audit_of_before_a_decision_leads_to_the_rows_that_have_to_follow(
    rollout: Rollout, viewer: Client, engineer: Client
) -> None:
    page = f"/rollout/audits/{audited(rollout).pk}/"
    change = journal.reviewed(rollout)
    text = text_of(engineer, page)
    assert f'<a href="/rollout/mapping-changes/{change.pk}/correct/">Update 12 rows</a>' in text
    assert "Run a new audit." not in text
    text = text_of(viewer, page)
    assert "Update 12 rows first" in text
    assert "/correct/" not in text
    audited(rollout, started_at=timezone.now())
    assert "Update 12 rows" not in text_of(engineer, page), "a later audit found them right"


def test_a_mismatched_audit_of_before_a_rollback_of_phase_2_leaves_nothing_to_repair(
    rollout: Rollout, engineer: Client
) -> None:
    report = a_mismatched_report(rollout)
    report.translations[1]["categories"] = {"ok": 999, "wrong": 1}
    report.save(update_fields=["translations"])
    page = report.get_absolute_url()
    earlier = report.started_at - timedelta(minutes=1)
    ran(rollout, 2, direction="backward", finished_at=earlier)
    assert "Settled." not in text_of(engineer, page), "the audit came after it"
    ran(rollout, 2, "failed", direction="backward")
    assert "Settled." not in text_of(engineer, page)
    for button in ("Repair all rows…", "Repair these rows…"):
        assert button in text_of(engineer, page)
    ran(rollout, 2, direction="backward")
    text = text_of(engineer, page)
    assert "Phase 2 was rolled back since: nothing of this audit is left to repair." in text
    for button in ("Repair all rows…", "Repair these rows…"):
        assert button not in text


def test_a_report_says_that_rows_wait_for_decisions_until_nothing_is_left_of_it(
    rollout: Rollout, viewer: Client
) -> None:
    report = a_mismatched_report(rollout)
    page = report.get_absolute_url()
    assert "for decisions about" not in texts_of(viewer, page)
    for number, sentence in (
        (1, "1 row waits for decisions about its values; a repair leaves it until then. Decide"),
        (2, "2 rows wait for decisions about their values; a repair leaves them until then."),
    ):
        report.categories = {"ok": 990, "wrong": 10 - number, "undecided": number}
        report.save(update_fields=["categories"])
        assert sentence in texts_of(viewer, page)
    journal.reviewed(rollout, changes=[], rows_changed=0)
    assert "until then. People have decided about values since." in texts_of(viewer, page)
    audited(rollout)
    assert "for decisions about" not in texts_of(viewer, page), "a later audit is clean"


def test_an_inconclusive_audit_says_why(rollout: Rollout, viewer: Client) -> None:
    report = audited(rollout, "inconclusive", message="There is no column <x> yet.")
    text = text_of(viewer, f"/rollout/audits/{report.pk}/")
    assert "Inconclusive: nothing to compare" in text
    assert "There is no column &lt;x&gt; yet." in text


def test_an_engineer_starts_an_audit_once(rollout: Rollout, engineer: Client) -> None:
    text = engineer.post(f"{PAGE}audits/", follow=True).content.decode()
    assert "Full audit started." in text
    again = engineer.post(f"{PAGE}audits/", follow=True).content.decode()
    assert "engineer&#x27;s audit is already running." in again
    assert AuditReport.objects.count() == 1


def test_the_list_of_audits_is_paged(rollout: Rollout, viewer: Client) -> None:
    assert "No audits yet." in text_of(viewer, f"{PAGE}audits/")
    reports = [audited(rollout) for _ in range(26)]
    response = viewer.get(f"{PAGE}audits/")
    assert f"Audit {reports[0].pk}<" not in response.content.decode()
    assert f"Audit {reports[0].pk}<" in text_of(
        viewer, f"{PAGE}audits/", after=str(response.context["reports"].next)
    )


def test_audits_and_rollout_say_when_the_next_sample_is_due_and_why_it_is_overdue(
    viewer: Client, rollout: Rollout
) -> None:
    for phase in range(3):
        journal.ran(rollout, phase)
    last = audited(rollout, "clean", mode="sampled", rows=10, population=10)
    for address in (PAGE, f"{PAGE}audits/"):
        assert "Next scheduled sampled audit" in text_of(viewer, address)
        assert "the plan schedules one every 15 min." in text_of(viewer, address)
    AuditReport.objects.filter(pk=last.pk).update(started_at=timezone.now() - timedelta(hours=1))
    for address in (PAGE, f"{PAGE}audits/"):
        page = text_of(viewer, address)
        assert "A scheduled sampled audit is overdue since" in page
        assert "No watchdog online (never seen)" in page
    journal.ran(rollout, 4)
    assert "scheduled sampled audit" not in text_of(viewer, PAGE)


def test_a_report_without_columns_of_an_expression_has_no_empty_table_of_them(
    rollout: Rollout, viewer: Client
) -> None:
    report = journal.audited(rollout)
    heading = "Derived columns"
    assert heading not in text_of(viewer, f"/rollout/audits/{report.pk}/")
    constant: dict[str, Any] = {"table": "properties", "column": "currency", "legacy_column": ""}
    report.translations = [{**constant, "lookup_table": "", "categories": {}, "cells": []}]
    report.save()
    assert heading not in text_of(viewer, f"/rollout/audits/{report.pk}/")
    report.translations = [{**constant, "lookup_table": "", "categories": {"ok": 9}, "cells": []}]
    report.save()
    assert heading in text_of(viewer, f"/rollout/audits/{report.pk}/")
