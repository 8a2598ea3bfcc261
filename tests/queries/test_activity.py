"""The lines of the activity log: a run's, with who retried it."""

from rollout.models import LogEntry, Rollout
from rollout.queries.activity import lines_of, retries_of
from tests.console import journal

HALTS = [["2026-12-01T00:00:00+00:00", "2026-12-01T00:01:00+00:00"]]


def retried(rollout: Rollout, run: int, by: str) -> LogEntry:
    return journal.noted(rollout, "retried", phase=2, actor=by, data={"run": run})


def test_the_last_retry_of_a_run_is_the_one_that_counts(rollout: Rollout) -> None:
    run = journal.ran(rollout, 2, halts=HALTS)
    start = journal.noted(rollout, "phase started", phase=2, data={"run": run.pk})
    retried(rollout, run.pk, "ada")
    last = retried(rollout, run.pk, "grace")
    assert retries_of([None, run]) == {run.pk: last}
    (line,) = lines_of([start])
    assert line.retry == last


def test_a_run_that_nobody_retried_has_none(rollout: Rollout) -> None:
    run, resumed = journal.ran(rollout, 2), journal.ran(rollout, 1, halts=HALTS)
    start = journal.noted(rollout, "phase started", phase=2, data={"run": run.pk})
    assert retries_of([run, resumed]) == {}
    (line,) = lines_of([start])
    assert line.retry is None
