"""How a rehearsal did beside the one before it, and how long one that runs still takes."""

from datetime import timedelta

from django.utils import timezone

from rollout.models import Direction, Rollout
from rollout.queries.rehearsal_changes import change_of, finished_before, time_left
from rollout.queries.rehearsals import report_of, result_of
from tests.console import journal
from tests.queries.past_rehearsals import ROWS, a_rehearsal


def test_a_figure_is_better_or_worse_beyond_a_tenth_of_it(rollout: Rollout) -> None:
    snapshot = journal.taken(rollout, counts=ROWS)
    first, second, third = (a_rehearsal(snapshot, backfill=b) for b in (10, 20, 20.5))
    assert [r.rehearsal.pk for r in finished_before(third, most=5)] == [second.pk, first.pk]
    forward = [result_of(report_of(r), 2, Direction.FORWARD) for r in (first, second, third)]
    verdicts = []
    for now, before in ((1, 0), (0, 1), (2, 1)):
        change = change_of(forward[now], forward[before])
        assert change is not None
        assert change.lock_ms is None, "no lock was seen"
        assert change.seconds is not None
        verdicts.append(change.seconds.verdict)
    assert verdicts == ["worse", "better", "same"]
    assert change_of(forward[0], None) is None


def test_time_left_is_that_of_the_phases_to_come(rollout: Rollout) -> None:
    snapshot = journal.taken(rollout, counts=ROWS)
    before = journal.rehearsed(snapshot, first_phase=3)
    for direction in ("forward", "backward"):
        for phase in (3, 4):
            journal.ran(before.sandbox, phase, direction=direction)
    running = journal.rehearsed(snapshot, "running", first_phase=3)
    journal.ran(running.sandbox, 3)
    left = time_left(report_of(running), report_of(before))
    assert left is not None
    assert round(left.shortest) == 12, "phase 4, and both rollbacks, of four seconds each"
    assert left.longest == left.shortest
    assert time_left(report_of(running), None) is None
    began = timezone.now() - timedelta(seconds=12)
    running.sandbox.runs.update(started_at=began, finished_at=timezone.now())
    left = time_left(report_of(running), report_of(before))
    assert left is not None
    assert round(left.shortest) == 36, "phase 3 took three times as long as then"


def test_a_step_that_takes_longer_than_before_makes_the_time_left_a_lower_bound(
    rollout: Rollout,
) -> None:
    snapshot = journal.taken(rollout, counts=ROWS)
    before = journal.rehearsed(snapshot, first_phase=4)
    for direction in ("forward", "backward"):
        run = journal.ran(before.sandbox, 4, direction=direction)
        for step in ("freeze-legacy", "drop-legacy"):
            journal.reached(run, step)
    running = journal.rehearsed(snapshot, "running", first_phase=4)
    began = timezone.now() - timedelta(minutes=1)
    run = journal.ran(running.sandbox, 4, state="running", started_at=began)
    journal.reached(run, "freeze-legacy")
    left = time_left(report_of(running), report_of(before))
    assert left is not None
    assert (round(left.shortest), left.longest) == (4, None), "the rollback, and more"
