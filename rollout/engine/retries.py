"""One row of a job's quarantine, tried again."""

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql

from rollout.engine import batches, computed_batches, lanes, quarantine, task_batches
from rollout.engine.batches import Range
from rollout.engine.lanes import Lane
from rollout.engine.target import Connection
from rollout.plan.actions import Compute, Fill
from rollout.plan.tasks import Task


def retry_row(
    connection: Connection,
    action: Fill | Compute,
    job: int,
    key: Sequence[str],
    *,
    function: Callable[..., Any] | None = None,
) -> bool:
    """Try the row in the caller's own transaction; is it right now?

    ``function`` is that of a computed column or a task.
    """
    rows = Range(quarantine.is_row(action.table, key), stripe=sql.SQL("true"), first=True)
    for leaf in lanes.leaves(connection, action.table):
        lane = Lane(job, 0, 0, leaf.schema, leaf.name, 0, 0, 0, 0, 0)
        if isinstance(action, Task):
            assert function is not None
            counts = task_batches.run_task(connection, action, function, lane, rows)
        elif isinstance(action, Compute):
            assert function is not None
            computed = computed_batches.compute_rows(connection, action, function, lane, rows)
            counts = computed_batches.write_computed(connection, action, lane, computed)
        else:
            fill = action.guarded
            wrong = batches.wrong_rows(connection, fill, lane, rows)
            counts = batches.update_one_by_one(connection, fill, lane, wrong)
        if counts.refused:
            return False
    return True
