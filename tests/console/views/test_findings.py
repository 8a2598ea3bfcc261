"""A finding: its row through all reports, accepted and taken back."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from rollout.models import AuditReport, Finding, FindingState, Rollout
from tests.console.audit_reports import a_report
from tests.console.journal import PAGE, browser_of, text_of

pytestmark = pytest.mark.django_db


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
        assert response.status_code == 422
        assert "Because." in response.content.decode()

    def test_a_viewer_is_offered_nothing(self, report: AuditReport) -> None:
        text = text_of(browser_of("viewer"), self.page())
        assert "Waive" not in text
        assert "Repair" not in text

    def test_a_value_that_waits_for_people_leads_to_its_decision(self, report: AuditReport) -> None:
        finding = Finding.objects.get(key="key-1")
        finding.regressions = 1
        finding.save()
        lead = browser_of("lead")
        text = text_of(lead, self.page())
        assert "The writer is wrong, not the row." in text
        assert "Repair this row" in text
        finding.mismatches.update(category="undecided")
        text = text_of(lead, self.page())
        assert "Found again 1 time after it was resolved." in text
        assert "Nobody decides about its value now" in text
        assert "The writer is wrong" not in text
        assert "Repair this row" not in text
        assert f'href="{PAGE}mappings/">Decide about its value</a>' in text
        Finding.objects.filter(pk=finding.pk).update(state=FindingState.REPAIRED)
        text = text_of(lead, self.page())
        assert "It waited for a decision about its value." in text
        assert "Nobody decides about its value now" not in text
