"""Gates that a plan puts before a phase. The plan names the condition; the journal answers it."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Gate:
    """A condition for starting a phase. ``rollout.gates`` has a function that checks each."""

    name: ClassVar[str]
    """Its key: in addresses, in the journal and for ``rollout override``."""
    label: ClassVar[str] = ""
    """Its name on pages; empty for the name."""
    overridable: ClassVar[bool] = True
    """Whether a lead may let the phase start all the same, with a reason."""
    of_protected: ClassVar[bool] = False
    """Whether it is about people or the application: asked in protected environments alone."""


@dataclass(frozen=True)
class EarlierPhaseDone(Gate):
    """The phase before this one is done. Every phase but the first has this gate by itself."""

    name = "earlier phase done"
    label = "Previous phase complete"
    overridable = False


@dataclass(frozen=True)
class BackfillComplete(Gate):
    """The final sweep of every backfill of the plan found no row left."""

    name = "backfill complete"
    overridable = False


@dataclass(frozen=True)
class AuditClean(Gate):
    """The last full audit is clean and newer than the last change of what is written."""

    name = "audit clean"
    label = "Clean full audit"


@dataclass(frozen=True)
class SnapshotVerified(Gate):
    """A snapshot of the plan's tables was taken lately, after the phase before, and verified."""

    fresh_for: timedelta = timedelta(hours=1)
    name = "snapshot verified"
    label = "Verified snapshot"


@dataclass(frozen=True)
class RehearsalPassed(Gate):
    """The plan, as it is now, was rehearsed lately, there and back, and the rehearsal passed."""

    fresh_for: timedelta = timedelta(days=7)
    name = "rehearsal passed"


@dataclass(frozen=True)
class NoDrift(Gate):
    """The live schema is what the plan expects before the phase."""

    name = "no drift"
    label = "No schema drift"


@dataclass(frozen=True)
class NoRuleHolds(Gate):
    """No rule that holds the next phase is broken. Every phase but the first has it by itself."""

    name = "no rule holds"
    label = "No guardrail blocks"


@dataclass(frozen=True)
class FilesUnchanged(Gate):
    """No SQL file was edited after it was applied. Plans with such files have it by themselves."""

    name = "SQL files unchanged"
    overridable = False


@dataclass(frozen=True)
class Soak(Gate):
    """Time has passed since the phase before, with calls measured and no guardrail breached.

    A breach starts the time again.
    """

    time: timedelta
    fewest_calls: int = 20
    name = "soak"
    of_protected = True


@dataclass(frozen=True)
class InBounds(Gate):
    """Latency and errors of the last minute are within the bounds of the plan's rules.

    The baseline is the hour before the phase before this one was asked for.
    """

    seconds: int = 60
    fewest_calls: int = 20
    name = "latency and errors in bounds"
    label = "Latency and errors within limits"
    of_protected = True


@dataclass(frozen=True)
class ProbesPassed(Gate):
    """Every flow that the plan probes passed when it was last tried out, and that was lately."""

    fresh_for: timedelta = timedelta(hours=24)
    name = "flow probes passed"
    label = "Smoke tests passed"


@dataclass(frozen=True)
class ChecklistComplete(Gate):
    """Every item of the plan's checklist is done."""

    name = "checklist complete"
    of_protected = True


@dataclass(frozen=True)
class MaintenanceWindow(Gate):
    """It is a time at which the plan lets the phase start.

    The window opens on each of ``days`` at ``opens`` and closes at ``closes``, on the next day
    where that is earlier; both as clocks in ``zone`` show them.
    """

    opens: time
    closes: time
    zone: str
    days: tuple[Day, ...] = DAYS
    name = "maintenance window"
    of_protected = True

    def contains(self, moment: datetime) -> bool:
        local = moment.astimezone(ZoneInfo(self.zone))
        of_day, clock = local.weekday(), local.time()
        if self.opens < self.closes:
            return self._opens_on(of_day) and self.opens <= clock < self.closes
        # Past midnight the window is the one that opened the day before.
        return (self._opens_on(of_day) and clock >= self.opens) or (
            self._opens_on(of_day - 1) and clock < self.closes
        )

    def next_opening(self, moment: datetime) -> datetime:
        """When it opens the next time after a moment."""
        zone = ZoneInfo(self.zone)
        local = moment.astimezone(zone)
        for ahead in range(9):
            day = (local + timedelta(days=ahead)).date()
            opening = datetime.combine(day, self.opens, zone)
            if self._opens_on(day.weekday()) and opening > local:
                return opening
        raise ValueError("The window opens on no day.")

    def _opens_on(self, weekday: int) -> bool:
        return DAYS[weekday % 7] in self.days

    @property
    def sentence(self) -> str:
        """The window as people read it."""
        days = "every day" if set(self.days) == set(DAYS) else ", ".join(self.days)
        return f"{days}, {self.opens:%H:%M} to {self.closes:%H:%M} {self.zone}"


@dataclass(frozen=True)
class NoLegacyReaders(Gate):
    """Nothing that runs reads the legacy columns any more, as far as the database can tell.

    The application names its sessions ``application/version`` in ``application_name``; versions
    before ``oldest`` still read them. ``others`` are names of sessions that never do. Where
    pg_stat_statements is there, no statement since the phase before may name a legacy column.
    """

    application: str
    oldest: str
    others: tuple[str, ...] = ("psql", "pg_dump")
    name = "no legacy readers"
    of_protected = True


@dataclass(frozen=True)
class Approved(Gate):
    """A lead other than the one who starts has approved the phase as the plan defines it now.

    Nobody can override it: whoever could confirm an override can approve.
    """

    valid_for: timedelta = timedelta(days=3)
    name = "approved"
    overridable = False
    of_protected = True
