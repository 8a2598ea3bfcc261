"""What a rehearsal predicts for the rows that production has, and how it did beside others."""

from datetime import timedelta

import pytest
from django.utils import timezone

from rollout.models import Direction, Rehearsal, Rollout, Snapshot
from rollout.plan import plans
from rollout.queries.predictions import Prediction, predict, tables_scanned
from rollout.queries.rehearsal_changes import change_of, finished_before, time_left
from rollout.queries.rehearsals import report_of, result_of
from tests.console import journal
from tests.support.rollouts import PLAN

ROWS = {"properties": 50_000, "property_images": 0}


def a_rehearsal(snapshot: Snapshot, *, backfill: float, state: str = "passed") -> Rehearsal:
    """One whose phase 2 took that long to backfill, and two seconds for its triggers."""
    rehearsal = journal.rehearsed(snapshot, state)
    now = timezone.now()
    run = journal.ran(rehearsal.sandbox, 2, started_at=now - timedelta(seconds=backfill + 2))
    journal.reached(run, "dual-write")
    journal.reached(run, "backfill", started_at=now - timedelta(seconds=backfill), finished_at=now)
    return rehearsal


def predicted(rehearsal: Rehearsal, *earlier: Rehearsal, times: float = 1) -> Prediction:
    rows = {table: int(count * times) for table, count in ROWS.items()}
    return predict(plans.get(PLAN), [report_of(r) for r in (rehearsal, *earlier)], rows)


def seconds_of(prediction: Prediction, phase: int) -> tuple[float, float | None]:
    result = prediction.of(phase, Direction.FORWARD)
    assert result is not None
    return round(result.seconds.shortest, 1), result.seconds.longest and round(
        result.seconds.longest, 1
    )


def test_only_steps_that_read_every_row_grow_with_rows(rollout: Rollout) -> None:
    rehearsal = a_rehearsal(journal.taken(rollout, counts=ROWS), backfill=10)
    prediction = predicted(rehearsal, times=20)
    assert prediction.rows == 1_000_000
    assert seconds_of(prediction, 2) == (202.0, 402.0), "from the rehearsed rate to half of it"
    assert seconds_of(prediction, 1) == (4.0, 4.0), "a column is added in the same time"
    result = prediction.of(2, Direction.FORWARD)
    assert result is not None
    assert result.scaled == ("Backfill existing rows",)
    assert round(prediction.forward.shortest) == 206


def test_several_rehearsals_of_the_plan_give_the_range(rollout: Rollout) -> None:
    small = journal.taken(rollout, counts={"properties": 25_000})
    slow = a_rehearsal(small, backfill=10)
    fast = a_rehearsal(journal.taken(rollout, counts=ROWS), backfill=10)
    assert seconds_of(predicted(fast, slow, times=2), 2) == (22.0, 42.0)


@pytest.mark.parametrize(
    ("phase", "step", "direction", "tables"),
    [
        (1, "add-property-columns", Direction.FORWARD, ()),
        (2, "backfill", Direction.FORWARD, ("properties",)),
        (2, "backfill-images", Direction.FORWARD, ("property_images",)),
        (2, "probe-search", Direction.FORWARD, ()),
        (3, "type-foreign-key", Direction.FORWARD, ("properties",)),
        (4, "drop-legacy", Direction.FORWARD, ()),
        (4, "drop-legacy", Direction.BACKWARD, ("properties",)),
        (4, "listing-counts", Direction.FORWARD, ("properties", "property_images")),
        (4, "listing-counts", Direction.BACKWARD, ()),
    ],
)
def test_a_step_reads_every_row_of_these_tables(
    phase: int, step: str, direction: str, tables: tuple[str, ...]
) -> None:
    plan = plans.get(PLAN)
    assert tables_scanned(plan, plan.step(phase, step), direction) == tables


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
