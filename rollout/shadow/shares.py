"""The share of reads that is compared, as people set it."""

from collections.abc import Mapping
from dataclasses import dataclass

from rollout import gates
from rollout.journal.environments import configured
from rollout.models import PhaseRun, Rollout
from rollout.modes import Modes, modes_now
from rollout.plan.plan import CONTRACT


@dataclass(frozen=True)
class Share:
    """Share of reads of one rollout, between 0 and 1; 0 unless both schemas exist."""

    rollout: int
    share: float


class Shares:
    """Shares in memory, which a thread refreshes from time to time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Share] = {}
        self._asked: set[tuple[str, str]] = set()

    def of(self, plan: str, using: str) -> Share | None:
        """The share that was last read; None before the first time."""
        self._asked.add((plan, using))
        return self._known.get((plan, using))

    def refresh(self) -> None:
        """Read the shares of all rollouts with offers."""
        names = {alias: name for name, alias in configured().items()}
        known = {}
        for plan, using in list(self._asked):
            rollout = Rollout.objects.filter(plan=plan, environment=names.get(using, "")).first()
            if rollout is not None:
                known[plan, using] = Share(rollout.pk, share_now(rollout, using))
        self._known = known


def share_now(rollout: Rollout, using: str) -> float:
    """The share that is compared now, between 0 and 1."""
    if not rollout.shadow_percent:
        return 0.0
    modes = modes_now(rollout.plan, using=using)
    if not has_both(gates.newest_runs(rollout), modes):
        return 0.0
    return rollout.shadow_percent / 100


def has_both(runs: Mapping[int, PhaseRun], modes: Modes) -> bool:
    """Whether both schemas exist and are written: from dual write until phase 4 starts.

    ``runs`` are the newest of each phase.
    """
    return modes.write != "legacy" and gates.is_not_started(runs.get(CONTRACT))
