"""What a phase's page shows of the CSV files of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from rollout.engine.csv_files import Upload
from rollout.engine.target import TargetAway, reason_of
from rollout.plan.csv_tasks import RunCsvTask, csv_steps
from rollout.queries.csv_uploads import MAX_BYTES, uploads_now
from rollout.queries.status import RolloutStatus


@dataclass(frozen=True)
class CsvState:
    """The file of a step: what is uploaded, or why that cannot be read."""

    step: RunCsvTask
    upload: Upload | None = None
    error: str = ""
    most_megabytes: int = MAX_BYTES // 1_000_000


def csv_states(status: RolloutStatus, number: int) -> Mapping[str, CsvState]:
    """By step id; a plan without such steps asks its database nothing."""
    steps = csv_steps(status.plan, number)
    if not steps:
        return {}
    try:
        uploads = uploads_now(status.rollout, steps)
    except (psycopg.Error, TargetAway) as error:
        reason = reason_of(error) if isinstance(error, psycopg.Error) else str(error)
        return {step.id: CsvState(step, error=reason) for step in steps}
    return {step.id: CsvState(step, uploads[step.id]) for step in steps}
