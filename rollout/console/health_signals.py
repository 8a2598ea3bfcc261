"""The signals of a database's health as a job's page shows them, with what each has cost."""

from collections.abc import Callable
from dataclasses import dataclass

from rollout.console.charts.bars import MIN_LOSS_SECONDS
from rollout.console.formats import byte_size, duration, number
from rollout.engine.health import Signal
from rollout.queries.progress import JobReport

# How a signal's number is written; signals that are not named have none to show.
_NUMBERS: dict[str, Callable[[float], str]] = {
    "old transaction": duration,
    "lock waits": number,
    "replication lag": duration,
    "WAL": byte_size,
    "transaction ids": number,
    "connections": number,
}


@dataclass(frozen=True)
class HealthRow:
    """A signal as it is now, None when it is not read any more, and the seconds lost to it."""

    name: str
    signal: Signal | None
    lost: float

    @property
    def value(self) -> str:
        if self.signal is None or self.signal.value is None or self.name not in _NUMBERS:
            return ""
        return _NUMBERS[self.name](self.signal.value)


def health_of(report: JobReport) -> list[HealthRow]:
    """Every signal of a job at work, then what else has cost time; of one that has ended that."""
    lost = {loss.signal: loss.seconds for loss in report.losses if loss.seconds >= MIN_LOSS_SECONDS}
    rows = [HealthRow(s.name, s, lost.pop(s.name, 0.0)) for s in report.signals]
    return rows + [HealthRow(name, None, seconds) for name, seconds in lost.items()]
