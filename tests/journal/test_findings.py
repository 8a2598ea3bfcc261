"""A mismatch through all reports: new, still there, repaired, back again, accepted."""

from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout import runner
from rollout.engine.audit import AuditResult, Cell, RowMismatch, TranslationResult
from rollout.journal import findings
from rollout.models import AuditReport, Finding, LogEntry, Mismatch, Rollout
from rollout.runner import Refused
from tests.support.rollouts import ADA

pytestmark = pytest.mark.django_db


def report_on(
    rollout: Rollout, keys: set[str], *, mode: str = "full", kept: bool = True
) -> AuditReport:
    """A report that found these rows, and wrote them down."""
    report = AuditReport.objects.create(
        rollout=rollout, mode=mode, plan_digest="x", actor_name="ada", started_at=timezone.now()
    )
    rows = [
        RowMismatch("properties", key, [key], "currency", "missing", None, "USD", None)
        for key in sorted(keys)
    ]
    counted = len(rows) if kept else len(rows) + 1
    cells = [Cell(None, None, "missing", counted)] if counted else []
    result = AuditResult(
        by_table={"properties": Counter({"missing": counted})},
        translations=[TranslationResult("properties", "currency", "", "", cells)],
        mismatches=rows,
    )
    findings.settle(report, result)
    report.mismatched = counted
    report.save()
    return report


def states(report: AuditReport) -> dict[str, str]:
    return dict(Mismatch.objects.filter(report=report).values_list("key", "state"))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=6))
def test_states_of_a_report_follow_from_earlier_reports(
    rollout: Rollout, sequence: list[set[str]]
) -> None:
    Mismatch.objects.all().delete()
    Finding.objects.all().delete()
    open_ones: set[str] = set()
    seen: set[str] = set()
    regressions: Counter[str] = Counter()
    for keys in sequence:
        expected = {
            key: "persisting" if key in open_ones else "regressed" if key in seen else "new"
            for key in keys
        }
        regressions.update(key for key, state in expected.items() if state == "regressed")
        assert states(report_on(rollout, keys)) == expected
        open_ones, seen = keys, seen | keys
    for finding in Finding.objects.all():
        assert (finding.state == "open") == (finding.key in open_ones)
        assert finding.regressions == regressions[finding.key]
    assert Finding.objects.count() == len(seen)


def test_a_sample_that_did_not_look_puts_nothing_right(rollout: Rollout) -> None:
    report_on(rollout, {"a", "b"})
    assert states(report_on(rollout, {"a"}, mode="sampled")) == {"a": "persisting"}
    assert set(Finding.objects.values_list("state", flat=True)) == {"open"}


def test_a_report_that_did_not_keep_all_puts_nothing_right(rollout: Rollout) -> None:
    report_on(rollout, {"a", "b"})
    report_on(rollout, {"a"}, kept=False)
    assert set(Finding.objects.values_list("state", flat=True)) == {"open"}


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
