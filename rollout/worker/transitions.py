"""Which state of a run may follow which, and the one way to change it."""

from typing import Any

from django.db.models import JSONField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
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
HALTED = (S.PAUSED, S.FAILED, S.CANCELLED)
"""States in which a run stands still until somebody lets it go on."""

# The same statement that changes the state: of two that follow each other fast, none is lost.
_BEGIN_HALT = """CASE WHEN halts #> '{-1,1}' = 'null' THEN halts
 ELSE halts || jsonb_build_array(jsonb_build_array(%s::text, NULL)) END"""
_END_HALT = """CASE WHEN halts #> '{-1,1}' = 'null'
 THEN jsonb_set(halts, '{-1,1}', to_jsonb(%s::text)) ELSE halts END"""


def paused_by(name: str, *, rule: str = "", message: str = "") -> dict[str, str]:
    """What a run keeps of who asked it to pause."""
    return {"by": name, "rule": rule, "at": timezone.now().isoformat(), "message": message}


def move(run: PhaseRun, to: RunState, *, token: int | None = None, **fields: Any) -> bool:
    """Change a run's state if that is allowed from the state it is in now; whether it was.

    The row is claimed by a conditional UPDATE: of two that try at once, one is told False.
    With a token, only its holder may.
    """
    before = [state for state, following in ALLOWED.items() if to in following]
    runs = PhaseRun.objects.filter(pk=run.pk, state__in=before)
    if token is not None:
        runs = runs.filter(token=token)
    now = timezone.now()
    # By the clock of all machines: a soak counts from it.
    finished = Now() if to in ENDED else None
    if to in HALTED or to == S.RUNNING:
        change = _END_HALT if to == S.RUNNING else _BEGIN_HALT
        fields["halts"] = RawSQL(change, [now.isoformat()], output_field=JSONField())  # noqa: S611
    moved = runs.update(state=to, finished_at=finished, **fields)
    if moved:
        run.refresh_from_db()
    return bool(moved)
