"""What changed in a rollout and who did it: runs of phases, and moments of the activity log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from rollout.journal.events import Event, Kind, headline_of, kind_of
from rollout.models import LogEntry, PhaseRun, Rollout, RunState

Lane = Literal["People", "Guardrails", "Checks"]
# The newest are shown: a page is no longer for a log of years.
MAX_RUNS = 200
MAX_MOMENTS = 500
LANES: Mapping[Lane, tuple[Event, ...]] = {
    "People": (
        Event.APPROVAL_ASKED_FOR,
        Event.APPROVED,
        Event.REJECTED,
        Event.REJECTION_WITHDRAWN,
        Event.APPROVAL_WITHDRAWN,
        Event.REQUEST_WITHDRAWN,
        Event.GATE_OVERRIDDEN,
        Event.OVERRIDE_CONFIRMED,
        Event.OVERRIDE_WITHDRAWN,
        Event.ITEM_TICKED,
        Event.TICK_TAKEN_BACK,
        Event.MISMATCH_ACCEPTED,
        Event.ACCEPTANCE_TAKEN_BACK,
        Event.MAPPING_REVIEWED,
        Event.PAUSE_ASKED_FOR,
        Event.RESUMED,
        Event.CANCEL_ASKED_FOR,
        Event.RETRIED,
        Event.START_SCHEDULED,
        Event.START_UNSCHEDULED,
        Event.PACE_CHANGED,
        Event.HOLD_RELEASED,
        Event.BLOCKER_CANCELLED,
        Event.BLOCKER_ENDED,
    ),
    "Guardrails": (
        Event.RULE_BROKEN,
        Event.THROTTLED_BY_RULE,
        Event.PAUSED_BY_RULE,
        Event.HELD_BY_RULE,
        Event.RULE_KEPT_AGAIN,
    ),
    "Checks": (
        Event.AUDIT_DONE,
        Event.SNAPSHOT_VERIFIED,
        Event.SNAPSHOT_FAILED,
        Event.SNAPSHOT_RESTORED,
        Event.REHEARSAL_PASSED,
        Event.REHEARSAL_FAILED,
        Event.SHADOW_READ_DIFFERS,
    ),
}
_LANE_OF: dict[str, Lane] = {event: lane for lane, events in LANES.items() for event in events}
_WRONG = (Kind.FAILED, Kind.MISMATCHES)


class Moment(NamedTuple):
    """An entry of the activity log. ``about`` is a page's URL name and number, where it has one."""

    at: datetime
    lane: Lane
    headline: str
    actor: str
    entry: int
    is_bad: bool
    is_good: bool
    """Whether something is over that a guardrail had found."""
    about: tuple[str, int] | None


@dataclass(frozen=True)
class History:
    """The runs and moments of a rollout until a moment, the oldest first.

    ``is_whole`` is False where older ones are left out.
    """

    runs: list[PhaseRun]
    moments: list[Moment]
    is_whole: bool


def history_of(rollout: Rollout, until: datetime) -> History:
    """The newest runs and moments of a rollout; two queries, whatever the log holds."""
    runs = list(
        PhaseRun.objects.filter(rollout=rollout, created_at__lte=until)
        .select_related("repair")
        .only(
            "phase",
            "direction",
            "state",
            "actor_name",
            "created_at",
            "finished_at",
            "repair__table",
        )
        .order_by("-id")[: MAX_RUNS + 1]
    )
    entries = (
        LogEntry.objects.filter(
            plan=rollout.plan,
            environment=rollout.environment,
            event__in=list(_LANE_OF),
            at__lte=until,
        )
        .order_by("-id")
        .values_list("at", "event", "actor", "pk", "data")[: MAX_MOMENTS + 1]
    )
    moments = [_moment(*entry) for entry in entries]
    is_whole = len(runs) <= MAX_RUNS and len(moments) <= MAX_MOMENTS
    return History(
        sorted(runs[:MAX_RUNS], key=lambda run: run.created_at),
        sorted(moments[:MAX_MOMENTS], key=lambda moment: moment.at),
        is_whole,
    )


def ended_at(run: PhaseRun) -> datetime | None:
    """When a run ended; None while it is active, paused or not."""
    return (
        run.finished_at
        if run.state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)
        else None
    )


def _moment(at: datetime, event: str, actor: str, entry: int, data: Mapping[str, object]) -> Moment:
    status = str(data.get("status", ""))
    is_audit = event == Event.AUDIT_DONE and status
    return Moment(
        at=at,
        lane=_LANE_OF[event],
        headline=f"Audit {status}" if is_audit else headline_of(event),
        actor=actor,
        entry=entry,
        is_good=event == Event.RULE_KEPT_AGAIN,
        is_bad=kind_of(event, audit_status=status) in _WRONG or event == Event.REJECTED,
        about=_about(data),
    )


def _about(data: Mapping[str, object]) -> tuple[str, int] | None:
    """The page of what an entry is about; of a rehearsal before the snapshot it began with."""
    for key, page in (("report", "audit"), ("rehearsal", "rehearsal"), ("snapshot", "snapshot")):
        number = data.get(key)
        if isinstance(number, int):
            return page, number
    return None
