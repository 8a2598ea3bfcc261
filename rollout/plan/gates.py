"""Gates that a plan puts before a phase. The plan names the condition; the journal answers it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

Answer = Literal["pass", "fail", "unknown"]


class Gate:
    """A condition for starting a phase. ``rollout.gates`` has a function that answers each."""

    name: ClassVar[str]


@dataclass(frozen=True)
class EarlierPhaseDone(Gate):
    """The phase before this one is done. Every phase but the first has this gate by itself."""

    name = "earlier phase done"


@dataclass(frozen=True)
class BackfillComplete(Gate):
    """The final sweep of every backfill of the plan found no row left."""

    name = "backfill complete"


@dataclass(frozen=True)
class AuditClean(Gate):
    """The last full audit is clean and newer than the last change of what is written."""

    name = "audit clean"


@dataclass(frozen=True)
class SnapshotVerified(Gate):
    """A snapshot of the plan's tables was taken lately, after the phase before, and verified."""

    fresh_for: timedelta = timedelta(hours=1)
    name = "snapshot verified"


@dataclass(frozen=True)
class NoDrift(Gate):
    """The live schema is what the plan expects before the phase."""

    name = "no drift"


@dataclass(frozen=True)
class NoRuleHolds(Gate):
    """No rule that holds the next phase is broken. Plans with such a rule have it by themselves."""

    name = "no rule holds"


@dataclass(frozen=True)
class FilesUnchanged(Gate):
    """No SQL file was edited after it was applied. Plans with such files have it by themselves."""

    name = "SQL files unchanged"
