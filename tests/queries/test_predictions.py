"""What a rehearsal predicts for the rows that production has, and how it did beside others."""

import pytest

from rollout.models import Direction, Rehearsal, Rollout
from rollout.plan import plans
from rollout.queries.predictions import Prediction, predict, tables_scanned
from rollout.queries.rehearsals import report_of
from tests.console import journal
from tests.queries.past_rehearsals import ROWS, a_rehearsal
from tests.support.rollouts import PLAN


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
