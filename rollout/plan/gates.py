"""Gates: the conditions that a plan sets for starting a phase."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Gate:
    """A condition for starting a phase. ``rollout.gates`` has a function that checks each."""

    name: ClassVar[str]
    """Its key in addresses, the journal and ``rollout override``; ``journal.labels`` has labels."""
    overridable: ClassVar[bool] = True
    """Whether a lead may override it, with a reason."""
    of_protected: ClassVar[bool] = False
    """Whether it is about people or the application: checked in protected environments only."""


@dataclass(frozen=True)
class EarlierPhaseDone(Gate):
    """The previous phase is done. Every phase but the first has this gate automatically."""

    name = "earlier phase done"
    overridable = False


@dataclass(frozen=True)
class BackfillComplete(Gate):
    """Every backfill of the plan is complete: its final sweep found 0 rows left."""

    name = "backfill complete"
    overridable = False


@dataclass(frozen=True)
class AuditClean(Gate):
    """The last full audit is clean, and no later change has outdated it.

    Changes of the write path, mapping decisions that change a row's value, and repairs outdate it.
    """

    name = "audit clean"


@dataclass(frozen=True)
class MappingReviewed(Gate):
    """People have decided on every legacy value of the mapping, if only to confirm it.

    A value that came after phase 2 may wait while it is younger than ``grace``.
    """

    grace: timedelta = timedelta(0)
    """How long a new value may wait."""
    name = "mapping reviewed"
    of_protected = True


@dataclass(frozen=True)
class ValuesDecided(Gate):
    """People have decided about every value that does not convert, and every key in conflict.

    Phase 3 has this gate automatically where a conversion puts such values in quarantine, or an
    extraction leaves conflicts to people.
    """

    name = "values decided"
    overridable = False


@dataclass(frozen=True)
class SnapshotVerified(Gate):
    """A recent snapshot was restored and compared.

    It was taken within ``fresh_for``, after the previous phase and the last change of the write
    path.
    """

    fresh_for: timedelta = timedelta(hours=1)
    """How old the snapshot may be."""
    name = "snapshot verified"


@dataclass(frozen=True)
class RehearsalPassed(Gate):
    """A recent rehearsal of this plan version passed, forward and rollback.

    It ran within ``fresh_for``, from a snapshot with every mapping decision that changes a row's
    value.
    """

    fresh_for: timedelta = timedelta(days=7)
    """How old the rehearsal may be."""
    name = "rehearsal passed"


@dataclass(frozen=True)
class NoDrift(Gate):
    """The live schema matches the plan before the phase."""

    name = "no drift"


@dataclass(frozen=True)
class NoGuardrailHolds(Gate):
    """No guardrail blocks the next phase. Every phase but the first has this gate automatically."""

    name = "no rule holds"


@dataclass(frozen=True)
class FilesUnchanged(Gate):
    """No SQL file was edited after it was applied, or the edit was accepted.

    Plans with SQL files have this gate automatically.
    """

    name = "SQL files unchanged"
    overridable = False


@dataclass(frozen=True)
class Soak(Gate):
    """Time has passed since the previous phase, with calls measured and no guardrail breached.

    A breach of a guardrail that pauses or blocks restarts it. Only time that a watchdog observed
    counts; clock jumps do not.
    """

    time: timedelta
    """How long the application must be in bounds."""
    fewest_calls: int = 20
    """How many calls must have been measured."""
    name = "soak"
    of_protected = True


@dataclass(frozen=True)
class InBounds(Gate):
    """Latency and errors of the last minute are within the limits of the plan's guardrails.

    The baseline is that of the previous phase.
    """

    seconds: int = 60
    """How much of the last time counts."""
    fewest_calls: int = 20
    """With fewer calls the answer is unknown."""
    name = "latency and errors in bounds"
    of_protected = True


@dataclass(frozen=True)
class ProbesPassed(Gate):
    """Every smoke test passed in its last run.

    It ran within ``fresh_for``, and after the last change of the write path.
    """

    fresh_for: timedelta = timedelta(hours=24)
    """How old the last run may be."""
    name = "flow probes passed"


@dataclass(frozen=True)
class ChecklistComplete(Gate):
    """Every item of the plan's checklist is done."""

    name = "checklist complete"
    of_protected = True


@dataclass(frozen=True)
class MaintenanceWindow(Gate):
    """The maintenance window is open.

    It opens on each of ``days`` at ``opens`` and closes at ``closes``, on the next day if that is
    earlier; both in the time zone ``zone``.
    """

    opens: time
    """When it opens."""
    closes: time
    """When it closes."""
    zone: str
    """The time zone, such as ``Europe/Berlin``."""
    days: tuple[Day, ...] = DAYS
    """The days on which it opens."""
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
        """When it next opens after a moment."""
        zone = ZoneInfo(self.zone)
        local = moment.astimezone(zone)
        for ahead in range(9):
            day = (local + timedelta(days=ahead)).date()
            opening = datetime.combine(day, self.opens, zone)
            if self._opens_on(day.weekday()) and opening > local:
                return opening
        raise ValueError("The window has no days.")

    def _opens_on(self, weekday: int) -> bool:
        return DAYS[weekday % 7] in self.days

    @property
    def sentence(self) -> str:
        """The window for people: ``fri, sat, 22:00 to 04:00 Europe/Berlin``."""
        days = "every day" if set(self.days) == set(DAYS) else ", ".join(self.days)
        return f"{days}, {self.opens:%H:%M} to {self.closes:%H:%M} {self.zone}"


@dataclass(frozen=True)
class NoLegacyReaders(Gate):
    """No session or statement in the database reads the legacy columns.

    The application names its sessions ``application/version`` in ``application_name``; versions
    before ``oldest`` still read them. ``others`` are names of sessions that never do. Where
    pg_stat_statements is installed, no statement since the previous phase may name a legacy column.
    """

    application: str
    """The application's name before the slash."""
    oldest: str
    """The first version that reads the new columns."""
    others: tuple[str, ...] = ("psql", "pg_dump")
    """Sessions of these names never read the table's columns."""
    name = "no legacy readers"
    of_protected = True


@dataclass(frozen=True)
class Approved(Gate):
    """A lead other than the one who starts has approved the phase of this plan version.

    It cannot be overridden: leads who could confirm an override can approve.
    """

    valid_for: timedelta = timedelta(days=3)
    """How long an approval is valid."""
    name = "approved"
    overridable = False
    of_protected = True
