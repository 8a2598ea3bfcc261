"""The activity log as people read it: each run as one line, with its entries."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import F, Q, QuerySet, Window
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import RowNumber

from rollout.journal.events import OF_RUNS, OF_STARTS, Event
from rollout.journal.labels import role_label
from rollout.models import Direction, Environment, LogEntry, PhaseRun
from rollout.plan.plan import ROLES

# Maximum entries of a run; more are in the list of every entry. A phase has fewer steps.
MAX_OF_RUN = 40


@dataclass(frozen=True)
class Line:
    """An entry; that of a run's start with the run, and the entries about it in their order."""

    entry: LogEntry
    run: PhaseRun | None = None
    entries: list[LogEntry] = field(default_factory=list)
    more: bool = False
    """Whether the run has entries beyond these."""

    @property
    def retry(self) -> LogEntry | None:
        """The last retry of the run among these entries."""
        retries = [entry for entry in self.entries if entry.event == Event.RETRIED]
        return retries[-1] if retries else None

    @property
    def title(self) -> str:
        """The name of the run, and what its phase is for."""
        assert self.run is not None
        if self.run.direction == Direction.REPAIR or self.run.phase >= len(ROLES):
            return self.run.title
        return f"{self.run.title} · {role_label(ROLES[self.run.phase])}"


def without_those_of_runs(entries: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
    """Leave of each run its start alone, which ``lines_of`` makes a line of."""
    return entries.exclude(event__in=OF_RUNS, data__has_key="run")


def without_rehearsals(entries: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
    """Without those of the databases that were made for rehearsals."""
    made = Environment.objects.filter(purpose=Environment.Purpose.REHEARSAL)
    return entries.exclude(environment__in=made.values("name"))


def starts_of_runs_at(moment: datetime) -> Q:
    """The entries by which the runs began that were under way at that moment: few, if any."""
    begun = PhaseRun.objects.filter(created_at__lt=moment)
    under_way = begun.filter(Q(finished_at=None) | Q(finished_at__gte=moment))
    return Q(event__in=OF_STARTS, data__run__in=list(under_way.values_list("pk", flat=True)))


def retries_of(runs: Iterable[PhaseRun | None]) -> dict[int, LogEntry]:
    """The last retry of each of these runs that has one, by the run's number."""
    retried = [run for run in runs if run is not None and run.has_stood_still]
    if not retried:
        return {}
    rollout = retried[0].rollout
    entries = LogEntry.objects.filter(
        plan=rollout.plan,
        environment=rollout.environment,
        event=Event.RETRIED,
        data__run__in=[run.pk for run in retried],
    )
    return {entry.data["run"]: entry for entry in entries.order_by("pk")}


def lines_of(entries: Iterable[LogEntry]) -> list[Line]:
    """Lines in the order of these entries. Two queries, whatever there is."""
    listed = list(entries)
    ids = {entry.data["run"] for entry in listed if _starts_a_run(entry)}
    runs = PhaseRun.objects.select_related("repair").in_bulk(ids)
    within: dict[int, list[LogEntry]] = defaultdict(list)
    for entry in _of_runs(ids):
        within[entry.data["run"]].append(entry)
    return [
        Line(entry, run, within[run.pk][:MAX_OF_RUN], more=len(within[run.pk]) > MAX_OF_RUN)
        if (run := runs.get(entry.data["run"]) if _starts_a_run(entry) else None)
        else Line(entry)
        for entry in listed
    ]


def _starts_a_run(entry: LogEntry) -> bool:
    return entry.event in OF_STARTS and isinstance(entry.data.get("run"), int)


def _of_runs(ids: set[int]) -> QuerySet[LogEntry]:
    """The first entries of each of these runs, without that of its start."""
    run = KeyTransform("run", "data")
    entries = LogEntry.objects.filter(Q(data__run__in=sorted(ids)), event__in=OF_RUNS)
    place = Window(RowNumber(), partition_by=[run], order_by=F("pk").asc())
    return entries.annotate(place=place).filter(place__lte=MAX_OF_RUN + 1).order_by("pk")
