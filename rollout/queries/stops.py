"""The run of a rollout that stands still until a person acts, and who that is.

The inbox and the list of rollouts both ask here, so that neither knows of a stop that the other
does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.gates.starts import STOPPED, unfinished_repair
from rollout.models import Direction, PhaseRun, RunState


@dataclass(frozen=True)
class Stop:
    """``permission`` is the one that ends it, ``waits`` says whose and how."""

    run: PhaseRun
    permission: str
    waits: str

    @property
    def what(self) -> str:
        """``Phase 2 was cancelled``."""
        match self.run.state:
            case RunState.FAILED:
                return f"{self.run.title} failed"
            case RunState.CANCELLED:
                return f"{self.run.title} was cancelled"
        by = f" by {self.run.pause['by']}" if self.run.pause else ""
        return f"{self.run.title} is paused{by}"


def stop_of_rollout(runs: Mapping[int, PhaseRun], newest_repair: PhaseRun | None) -> Stop | None:
    """``runs`` are the newest of each phase: while one is active, no other waits for people."""
    repair = unfinished_repair(dict(runs), newest_repair)
    active = next((run for run in (*runs.values(), repair) if run and run.active), None)
    newest = max(runs.values(), key=lambda run: run.pk, default=None)
    run = active or repair or newest
    return stop_of_run(run) if run is not None else None


def stop_of_run(run: PhaseRun) -> Stop | None:
    """None for a run that is queued, at work or done."""
    is_forward = run.direction == Direction.FORWARD
    what = run.name if is_forward else f"the {run.name}"
    if run.state == RunState.PAUSED:
        return Stop(run, "pause_rollout", f"An engineer or a lead to resume {what}")
    if run.state not in STOPPED:
        return None
    back = " or roll back" if is_forward else ""
    return Stop(run, "start_rollout", f"A lead to retry{back} {what}")
