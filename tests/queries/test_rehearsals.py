"""What a rehearsal measured, and what follows for production."""

from rollout.models import Rehearsal, Rollout
from rollout.queries import rehearsals
from tests.console.journal import rehearsed, taken


def test_no_p99_is_above_the_longest_operation_measured(rollout: Rollout) -> None:
    rehearsal = rehearsed(taken(rollout, phases=["untouched"] * 5))
    # The estimate of this bucket is 21.2 ms.
    Rehearsal.objects.update(
        baseline_traffic={"operations": 20, "longest_ms": 21.0, "durations": {"-38": 20}}
    )
    rehearsal.refresh_from_db()
    report = rehearsals.report_of(rehearsal)
    assert report.alone.p99_ms == 21.0
    traffic = [result.traffic for result in report.results]
    traffic += [step.traffic for result in report.results for step in result.steps]
    assert {(seen.longest_ms, seen.p99_ms) for seen in traffic if seen.operations} == {(88.1, 88.1)}
