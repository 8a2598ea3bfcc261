"""Outcomes of shadow reads, counted in this process and flushed to the journal."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from django.utils import timezone

from rollout.models import ShadowTally
from rollout.models.shadow import OUTCOMES
from rollout.telemetry.histograms import Histogram

INTERVAL_SECONDS = 10
Outcome = Literal["same", "differed", "unfilled", "mapped", "transient", "unstable", "failed"]


@dataclass
class Tally:
    """Outcomes of one operation in one interval."""

    outcomes: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    error: str = ""
    old: Histogram = field(default_factory=Histogram)
    new: Histogram = field(default_factory=Histogram)

    @property
    def compared(self) -> int:
        return sum(self.outcomes.values())


class Tallies:
    """Belongs to one thread, but for ``skip``."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[int, str, int], Tally] = {}

    def of(self, rollout: int, operation: str) -> Tally:
        number = int(timezone.now().timestamp()) // INTERVAL_SECONDS
        return self._tallies.setdefault((rollout, operation, number), Tally())

    def count(self, rollout: int, operation: str, outcome: Outcome, *, error: str = "") -> None:
        tally = self.of(rollout, operation)
        tally.outcomes[outcome] = tally.outcomes.get(outcome, 0) + 1
        tally.error = error or tally.error

    def flush(self) -> None:
        """Write them to the journal. Raises DatabaseError, and keeps them in that case."""
        taken = self._tallies
        ShadowTally.objects.bulk_create(
            ShadowTally(
                at=datetime.fromtimestamp(number * INTERVAL_SECONDS, UTC),
                seconds=INTERVAL_SECONDS,
                rollout_id=rollout,
                operation=operation,
                compared=tally.compared,
                skipped=tally.skipped,
                error=tally.error,
                old_durations=tally.old.as_json(),
                new_durations=tally.new.as_json(),
                **{name: tally.outcomes.get(name, 0) for name in OUTCOMES},
            )
            for (rollout, operation, number), tally in taken.items()
        )
        self._tallies = {}
