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
    run: PhaseRun | None,
    jobs: Sequence[JobView],
    current: CurrentStep | None = None,
    *,
    may_pause: bool = True,
    may_cancel: bool = True,
) -> str:
    """When a pause and a cancellation of a run would take effect, of what a reader may press.

    Empty where neither applies.
    """
    if run is None or run.state not in _STOPPABLE or not (may_pause or may_cancel):
        return ""
    both = "Pause and cancel take" if may_pause and may_cancel else _only(may_pause)
    if run.state == RunState.QUEUED:
        return f"{both} effect before the first step."
    sentence = _when(jobs, current, both, may_pause=may_pause, may_cancel=may_cancel)
    last = last_pause_of(run)
    return f"{sentence} The last pause took {duration(last)}." if last is not None else sentence


def _only(may_pause: bool) -> str:
    return "Pause takes" if may_pause else "Cancel takes"


def _when(
    jobs: Sequence[JobView],
    current: CurrentStep | None,
    both: str,
    *,
    may_pause: bool,
    may_cancel: bool,
) -> str:
    job = next((view.job for view in jobs if view.job.finished_at is None), None)
    if job is not None:
        longest = duration(LOOK_EVERY + job.target_ms / 1000)
        return (
            f"{both} effect within about {longest}: a batch (target "
            f"{duration(job.target_ms / 1000)}) is finished first."
        )
    activity = current.run.activity if current is not None else None
    if activity and activity["attempt"]:
        longest = duration(LOOK_EVERY + activity["timeout_ms"] / 1000)
        ways = [f"Pause takes effect within about {longest}"] * may_pause
        ways += [f"{'c' if may_pause else 'C'}ancel within about {_LOOK}"] * may_cancel
        return f"{', '.join(ways)}."
    ways = ["Pause takes effect when the current statement ends"] * may_pause
    ways += [
        f"{'c' if may_pause else 'C'}ancel ends the statement, within about {_LOOK}"
    ] * may_cancel
    return f"{'; '.join(ways)}."


def last_pause_of(run: PhaseRun) -> timedelta | None:
    """How long a run took to stand still after its newest pause was requested."""
    if not run.pause:
        return None
    at = datetime.fromisoformat(run.pause["at"])
    # A failure halts a run too, later than the pause that was resumed before it.
    stood = [datetime.fromisoformat(began) for began, _ in run.halts if began]
    return min((moment - at for moment in stood if moment >= at), default=None)
