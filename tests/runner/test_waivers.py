"""A mismatch that a person accepts, until it is another."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout import runner
from rollout.models import Finding, LogEntry, Rollout
from rollout.runner import Refused
from tests.journal.audit_reports import report_on, states
from tests.support.rollouts import ADA

pytestmark = pytest.mark.django_db


class TestWaivers:
    def test_an_accepted_mismatch_counts_and_is_said_to_be_accepted(self, rollout: Rollout) -> None:
        report_on(rollout, {"a", "b"})
        finding = Finding.objects.get(key="a")
        until = timezone.now() + timedelta(days=7)
        runner.waive(finding, reason="Sold in 1999.", until=until, actor=ADA)
        report = report_on(rollout, {"a", "b"})
        assert states(report) == {"a": "waived", "b": "persisting"}
        assert (report.mismatched, report.waived) == (2, 1)
        entry = LogEntry.objects.get(event="mismatch accepted")
        assert "Sold in 1999." in entry.message
        assert entry.actor == "ada"

    def test_waiver_ends_by_itself(self, rollout: Rollout) -> None:
        report_on(rollout, {"a"})
        now = timezone.now()
        Finding.objects.update(waived_until=now - timedelta(seconds=1), waived_by="ada")
        assert states(report_on(rollout, {"a"})) == {"a": "persisting"}

    def test_waiver_can_be_removed(self, rollout: Rollout) -> None:
        report_on(rollout, {"a"})
        finding = Finding.objects.get()
        runner.waive(finding, reason="Why.", until=timezone.now() + timedelta(days=1), actor=ADA)
        runner.unwaive(finding, actor=ADA)
        assert states(report_on(rollout, {"a"})) == {"a": "persisting"}
        with pytest.raises(Refused, match="This mismatch is not waived"):
            runner.unwaive(finding, actor=ADA)

    @pytest.mark.parametrize(
        ("reason", "days"), [(" ", 1), ("Why.", 0), ("Why.", -1), ("Why.", 91)]
    )
    def test_waiver_needs_a_reason_and_an_end_within_90_days(
        self, rollout: Rollout, reason: str, days: int
    ) -> None:
        report_on(rollout, {"a"})
        until = timezone.now() + timedelta(days=days)
        with pytest.raises(Refused):
            runner.waive(Finding.objects.get(), reason=reason, until=until, actor=ADA)
        assert Finding.objects.get().waived_by == ""
