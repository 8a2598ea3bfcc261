"""A mismatch through all reports: new, still there, repaired, back again."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.models import Finding, Mismatch, Rollout
from tests.journal.audit_reports import report_on, states

pytestmark = pytest.mark.django_db


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
