"""Whether a rollout is healthy: what is wrong at present, in the order in which it matters."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse

from rollout.console.rules import RuleRow
from rollout.models import AuditReport, AuditStatus, RunState
from rollout.status import RolloutStatus


@dataclass(frozen=True)
class Concern:
    """Something to look at, and the page on which to do so."""

    text: str
    url: str
    tone: str = "bad"


def concerns_of(
    status: RolloutStatus, rules: Iterable[RuleRow], audits: Iterable[AuditReport]
) -> list[Concern]:
    """None when worker and watchdog answer, no phase failed, rules are kept and rows match."""
    rollout = status.rollout
    here = reverse("rollout:rollout", args=[rollout.plan, rollout.environment])
    found = []
    if not status.liveness.worker_alive:
        found.append(Concern("No worker answers.", here))
    if not status.liveness.watchdog_alive:
        found.append(Concern("No watchdog answers.", here))
    found += [
        Concern(f"Phase {phase.number} failed.", f"{here}phases/{phase.number}/")
        for phase in status.phases
        if phase.state == RunState.FAILED
    ]
    newest = next((one for one in audits if one.status != AuditStatus.RUNNING), None)
    if newest is not None and newest.status != AuditStatus.CLEAN:
        text = f"Audit {newest.pk} is {newest.status}."
        if newest.status == AuditStatus.MISMATCHED:
            text = f"Audit {newest.pk} found {newest.mismatched:,} mismatched rows."
        found.append(Concern(text, reverse("rollout:audit", args=[newest.pk])))
    monitoring = reverse("rollout:monitoring", args=[rollout.plan, rollout.environment])
    found += [
        Concern(_of_rule(row), f"{monitoring}#rules", "bad" if row.doing else "warn")
        for row in rules
        if row.verdict == "broken" or row.doing
    ]
    return found


def _of_rule(row: RuleRow) -> str:
    doing = f"{row.doing[0].lower()}{row.doing[1:]}" if row.doing else ""
    if row.verdict != "broken":
        return f"Rule “{row.rule.id}” is broken no more, and still {doing}."
    return f"Rule “{row.rule.id}” is broken{', and ' + doing if doing else ''}."
