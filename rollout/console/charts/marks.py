"""What the rollout did in a span of time: marks on the axis of the monitoring page's plots."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from rollout.console.charts.lines import Band, band_of
from rollout.journal.events import Event, headline_of
from rollout.journal.labels import job_label
from rollout.models import BackfillJob, Direction, LogEntry, PhaseRun, Rollout

# Maximum of each kind; the newest are marked.
MAX_MARKS = 50
# Log events that are moments, with the kind of their sign and its shape.
SIGNS: dict[str, tuple[str, str]] = {
    Event.PAUSED_BY_RULE: ("halt", "paused"),
    Event.PAUSE_ASKED_FOR: ("halt", "paused"),
    Event.HELD_BY_RULE: ("halt", "lock"),
    Event.HOLD_RELEASED: ("on", "next"),
    Event.RESUMED: ("on", "next"),
    Event.RULE_BROKEN: ("warning", "warning"),
    Event.SHADOW_READ_DIFFERS: ("warning", "warning"),
}
THROTTLED, KEPT_AGAIN = Event.THROTTLED_BY_RULE, Event.RULE_KEPT_AGAIN
_WORDS = {
    Direction.FORWARD: "Phase {}",
    Direction.BACKWARD: "Rollback of phase {}",
    Direction.REPAIR: "Repair in phase {}",
}


@dataclass(frozen=True)
class Mark:
    """Something that the rollout did, in the plot's time. A ``sign`` is a moment, not a stretch."""

    label: str
    band: Band
    kind: str
    began: datetime
    ended: datetime | None
    sign: str = ""
    report: int | None = None
    """The report that it led to."""

    @property
    def is_moment(self) -> bool:
        return bool(self.sign)


@dataclass(frozen=True)
class Lane:
    """The marks of one kind, in a row of their own."""

    name: str
    marks: list[Mark]


def marks_of(rollout: Rollout, since: datetime, until: datetime) -> list[Mark]:
    """Phases, backfills, throttles and halts that fall into the time, oldest first."""
    marks = [*_runs(rollout, since, until), *_jobs(rollout, since, until)]
    marks += _events(rollout, since, until)
    return sorted(marks, key=lambda mark: mark.began)


def lanes_of(marks: Iterable[Mark]) -> list[Lane]:
    """The marks as rows above the plots; a row without any is left out."""
    rows = {
        "Phases": ("phase",),
        "Backfills": ("job",),
        "Throttles": ("throttle",),
        "Halts": ("halt", "on", "warning"),
    }
    every = list(marks)
    lanes = [Lane(name, [m for m in every if m.kind in kinds]) for name, kinds in rows.items()]
    return [lane for lane in lanes if lane.marks]


def _runs(rollout: Rollout, since: datetime, until: datetime) -> list[Mark]:
    in_time = Q(finished_at__gt=since) | Q(finished_at=None)
    runs = PhaseRun.objects.filter(in_time, rollout=rollout, created_at__lt=until)
    runs = runs.only("phase", "direction", "created_at", "finished_at", "halts")
    return [
        Mark(
            _WORDS[Direction(run.direction)].format(run.phase),
            band_of(run.created_at, run.stopped_at or until, since, until),
            "phase",
            run.created_at,
            run.stopped_at,
        )
        for run in runs[:MAX_MARKS]
        if run.stopped_at is None or run.stopped_at > since
    ]


def _jobs(rollout: Rollout, since: datetime, until: datetime) -> list[Mark]:
    in_time = Q(finished_at__gt=since) | Q(finished_at=None)
    jobs = BackfillJob.objects.filter(
        in_time, step_run__run__rollout=rollout, created_at__lt=until
    ).values_list("table", "kind", "created_at", "finished_at", "step_run__run")[:MAX_MARKS]
    runs = PhaseRun.objects.in_bulk([run for *_, finished, run in jobs if finished is None])
    marks = []
    for table, kind, began, finished, run in jobs:
        end = finished or runs[run].stopped_at
        if end is None or end > since:
            band = band_of(began, end or until, since, until)
            marks.append(Mark(f"{job_label(kind)} of {table}", band, "job", began, end))
    return marks


def _events(rollout: Rollout, since: datetime, until: datetime) -> list[Mark]:
    entries = LogEntry.objects.filter(
        plan=rollout.plan,
        environment=rollout.environment,
        at__lt=until,
        at__gt=since,
        event__in=[*SIGNS, THROTTLED, KEPT_AGAIN],
    ).order_by("-id")[: 2 * MAX_MARKS]
    marks: list[Mark] = []
    throttles: dict[str, LogEntry] = {}
    for entry in reversed(entries):
        rule = str(entry.data.get("rule", ""))
        if entry.event == THROTTLED:
            throttles[rule] = entry
        elif entry.event == KEPT_AGAIN:
            if begun := throttles.pop(rule, None):
                marks.append(_throttle(rule, begun.at, entry.at, since, until))
        else:
            kind, sign = SIGNS[entry.event]
            band = band_of(entry.at, entry.at, since, until)
            report = entry.data.get("report")
            marks.append(Mark(_short(entry), band, kind, entry.at, entry.at, sign, report))
    for rule, begun in throttles.items():
        marks.append(_throttle(rule, begun.at, None, since, until))
    return marks


def _throttle(
    rule: str, began: datetime, ended: datetime | None, since: datetime, until: datetime
) -> Mark:
    band = band_of(began, ended or until, since, until)
    return Mark(f"Throttled by guardrail {rule}", band, "throttle", began, ended)


def _short(entry: LogEntry) -> str:
    """What happened in a few words, and by whom."""
    return f"{headline_of(entry.event)}: {entry.actor}"
