"""What was measured of each phase beside an application, and what must be reached."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollout.engine import ddl

LONGEST_HOLD_MS = 50.0
MAX_EXTRA_WAIT_MS = 500.0
# The way back in an incident: rows a second, and as a share of the fill's beside the same traffic.
MIN_RESTORED_PER_S = 50_000
MIN_RESTORED_SHARE = 0.8


@dataclass(frozen=True)
class Figures:
    """Of one phase in one direction; milliseconds."""

    longest_lock_ms: float
    longest_lock: str
    blind_ms: float
    app_max_ms: float
    app_p99_ms: float
    app_errors: int
    app_transactions: int
    lock_timeouts: int
    seconds: float
    steps: dict[str, float]
    """How long each took, in seconds."""
    slowest_in: str
    """The step that was under way when the application's slowest transaction was due."""
    rows_per_s: dict[str, float]
    """Of each pass, by its kind and its table."""
    held_back: dict[str, float]
    """Seconds that passes over the rows lost to each sign of the database's health."""

    @property
    def lock_timeout_ms(self) -> float:
        """The longest lock timeout that can have been in force after so many that ran out."""
        longest = ddl.FIRST_LOCK_TIMEOUT_SECONDS * 1.3**self.lock_timeouts
        return min(ddl.MAX_LOCK_TIMEOUT_SECONDS, longest) * 1000

    def as_dict(self) -> dict[str, Any]:
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in {**vars(self), "lock_timeout_ms": self.lock_timeout_ms}.items()
        }


@dataclass
class Report:
    """The figures of every phase that was measured."""

    rows: int
    idle: dict[str, Any]
    forward: dict[int, Figures] = field(default_factory=dict)
    backward: dict[int, Figures] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, Figures]:
        return {
            **{f"phase {number}": figures for number, figures in self.forward.items()},
            **{f"rollback of {number}": figures for number, figures in self.backward.items()},
        }

    def as_dict(self) -> dict[str, Any]:
        back = list(self.backward.values())
        return {
            "rows": self.rows,
            "phases": {str(number): phase.as_dict() for number, phase in self.forward.items()},
            "rollback": {
                "longest_lock_ms": round(max(phase.longest_lock_ms for phase in back), 3),
                "app_max_ms": round(max(phase.app_max_ms for phase in back), 3),
                "app_p99_ms": round(max(phase.app_p99_ms for phase in back), 3),
                "app_errors": sum(phase.app_errors for phase in back),
                "phases": {str(number): phase.as_dict() for number, phase in self.backward.items()},
            },
            "idle": self.idle,
        }

    def lines(self) -> Iterator[str]:
        """The table, as text."""
        yield f"{self.rows:,} rows; the application alone: {self.idle}"
        yield (
            f"{'':<14}{'seconds':>8} {'lock ms':>8} {'app max':>8} {'p99':>7} {'errors':>7}"
            "  longest exclusive lock"
        )
        for name, run in self.all.items():
            yield (
                f"{name:<14}{run.seconds:>8.1f} {run.longest_lock_ms:>8.1f} {run.app_max_ms:>8.0f} "
                f"{run.app_p99_ms:>7.1f} {run.app_errors:>7}  {run.longest_lock} (looked at least "
                f"every {run.blind_ms:.1f} ms)"
            )
        for name, run in self.all.items():
            for label, speed in run.rows_per_s.items():
                yield f"{name:<14}{speed:>8,.0f} rows/s  {label}"

    @property
    def restored(self) -> dict[str, tuple[float, float]]:
        """Of each table that was restored, rows a second, and that as a share of its fill's."""
        speeds = {label: s for run in self.all.values() for label, s in run.rows_per_s.items()}
        return {
            table: (speed, speed / speeds[f"fill {table}"])
            for label, speed in speeds.items()
            for kind, _, table in [label.partition(" ")]
            if kind == "restore" and f"fill {table}" in speeds
        }


def targets(reports: Sequence[Report]) -> dict[str, dict[str, Any]]:
    """What must be reached in every phase and rollback, what was, and whether that is enough.

    An application's longest wait is the median of the runs, less its longest without a phase. So
    is what is restored, where anything was.
    """
    waits = {
        name: statistics.median(
            report.all[name].app_max_ms - report.idle["app_max_ms"] for report in reports
        )
        for name in reports[0].all
    }
    every = [figures for report in reports for figures in report.all.values()]
    reached = {}
    for name, at_most, value in (
        ("app_errors", 0, sum(figures.app_errors for figures in every)),
        ("app_extra_wait_ms", MAX_EXTRA_WAIT_MS, max(waits.values())),
        ("longest_lock_ms", LONGEST_HOLD_MS, max(figures.longest_lock_ms for figures in every)),
    ):
        reached[name] = {"at_most": at_most, "reached": round(value, 1), "met": value <= at_most}
    restored = [speeds for report in reports for speeds in report.restored.values()]
    for name, at_least, values in (
        ("restored_rows_per_s", MIN_RESTORED_PER_S, [speed for speed, _ in restored]),
        ("restored_share", MIN_RESTORED_SHARE, [share for _, share in restored]),
    ):
        if values:
            value = statistics.median(values)
            reached[name] = {
                "at_least": at_least,
                "reached": round(value, 2),
                "met": value >= at_least,
            }
    return reached


def target_lines(reports: Sequence[Report]) -> Iterator[str]:
    """The targets, as text."""
    for name, target in targets(reports).items():
        verdict = "met" if target["met"] else "MISSED"
        bound = f"≥ {target['at_least']}" if "at_least" in target else f"≤ {target['at_most']:g}"
        yield f"{name:<20} {target['reached']:>10,.2f}  {bound:<8} {verdict}"
