"""Which state of a run may follow which, and the one way to change it."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from rollout.models import PhaseRun, RunState

S = RunState

ALLOWED: dict[RunState, frozenset[RunState]] = {
    # A worker takes it; or somebody thinks again before one does.
    S.QUEUED: frozenset({S.RUNNING, S.PAUSED, S.CANCELLED}),
    # The worker comes to the end, fails, or is asked to stop.
    S.RUNNING: frozenset({S.PAUSING, S.CANCELLING, S.DONE, S.FAILED}),
    # The worker stops at the next safe point; it may come to the end before that.
    S.PAUSING: frozenset({S.PAUSED, S.CANCELLING, S.DONE, S.FAILED}),
    # Resumed it waits for a worker again.
    S.PAUSED: frozenset({S.QUEUED, S.CANCELLED}),
    S.CANCELLING: frozenset({S.CANCELLED, S.DONE, S.FAILED}),
    # Retried it goes on with the step that did not end.
    S.CANCELLED: frozenset({S.QUEUED}),
    S.FAILED: frozenset({S.QUEUED}),
    # The end.
    S.DONE: frozenset(),
}
ENDED = (S.CANCELLED, S.FAILED, S.DONE)


def move(run: PhaseRun, to: RunState, *, token: int | None = None, **fields: Any) -> bool:
    """Change a run's state if that is allowed from the state it is in now; whether it was.

    The row is claimed by a conditional UPDATE: of two that try at once, one is told False.
    With a token, only its holder may.
    """
    before = [state for state, following in ALLOWED.items() if to in following]
    runs = PhaseRun.objects.filter(pk=run.pk, state__in=before)
    if token is not None:
        runs = runs.filter(token=token)
    finished: datetime | None = timezone.now() if to in ENDED else None
    moved = runs.update(state=to, finished_at=finished, **fields)
    if moved:
        run.refresh_from_db()
    return bool(moved)
