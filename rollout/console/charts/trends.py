"""Mismatched rows from one full audit to the next."""

from dataclasses import dataclass

from rollout.console.charts.lines import percent
from rollout.models import AuditMode, AuditReport, AuditStatus, Rollout

# Maximum bars that can be pressed on a phone.
MAX_AUDITS = 12
# Minimum height of a bar, in percent, so that a single row beside thousands can be seen.
MIN_BAR_PERCENT = 4.0


@dataclass(frozen=True)
class Bar:
    """A full audit; ``y`` and ``height`` are percent."""

    report: AuditReport
    y: str
    height: str


@dataclass(frozen=True)
class Trend:
    """The newest full audits, oldest first."""

    bars: list[Bar]

    @property
    def first(self) -> AuditReport:
        return self.bars[0].report

    @property
    def all_clean(self) -> bool:
        return not any(bar.report.mismatched for bar in self.bars)


def trend_of(rollout: Rollout) -> Trend | None:
    """The trend of a rollout's full audits; None with fewer than two."""
    reports = AuditReport.objects.filter(
        rollout=rollout, mode=AuditMode.FULL, finished_at__isnull=False, tables=[]
    ).exclude(status=AuditStatus.INCONCLUSIVE)
    newest = list(
        reports.only("pk", "started_at", "mismatched", "status").order_by("-pk")[:MAX_AUDITS]
    )[::-1]
    if len(newest) < 2:
        return None
    most = max(report.mismatched for report in newest) or 1
    return Trend([_bar(report, report.mismatched / most * 100) for report in newest])


def _bar(report: AuditReport, height: float) -> Bar:
    height = max(height, MIN_BAR_PERCENT)
    return Bar(report, percent(100 - height), percent(height))
