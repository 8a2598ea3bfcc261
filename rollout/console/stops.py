"""How soon a run that is paused or cancelled now would stand still."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rollout.console.current_phases import CurrentStep, JobView
from rollout.console.formats import duration
from rollout.models import PhaseRun, RunState
from rollout.worker.leases import LOOK_EVERY

_STOPPABLE = (RunState.QUEUED, RunState.RUNNING)
# What a statement needs at most to end once it is cancelled is not known; the look is.
_LOOK = duration(LOOK_EVERY)


def stop_of(
    run: PhaseRun | None, jobs: Sequence[JobView], current: CurrentStep | None = None
) -> str:
    """When a pause and a cancellation of a run would take effect; empty where neither applies."""
    if run is None or run.state not in _STOPPABLE:
        return ""
    if run.state == RunState.QUEUED:
        return "Pause and cancel take effect before the first step."
    sentence = _when(jobs, current)
    last = last_pause_of(run)
    return f"{sentence} The last pause took {duration(last)}." if last is not None else sentence


def _when(jobs: Sequence[JobView], current: CurrentStep | None) -> str:
    job = next((view.job for view in jobs if view.job.finished_at is None), None)
    if job is not None:
        longest = duration(LOOK_EVERY + job.target_ms / 1000)
        return (
            f"Pause and cancel take effect within about {longest}: a batch (target "
            f"{duration(job.target_ms / 1000)}) is finished first."
        )
    standing = current.run.standing if current is not None else None
    if standing and standing["attempt"]:
        longest = duration(LOOK_EVERY + standing["timeout_ms"] / 1000)
        return f"Pause takes effect within about {longest}, cancel within about {_LOOK}."
    return (
        "Pause takes effect when the current statement ends; cancel ends the statement, within "
        f"about {_LOOK}."
    )


def last_pause_of(run: PhaseRun) -> timedelta | None:
    """How long a run took to stand still after its newest pause was requested."""
    if not run.pause:
        return None
    at = datetime.fromisoformat(run.pause["at"])
    # A failure halts a run too, later than the pause that was resumed before it.
    stood = [datetime.fromisoformat(began) for began, _ in run.halts if began]
    return min((moment - at for moment in stood if moment >= at), default=None)
