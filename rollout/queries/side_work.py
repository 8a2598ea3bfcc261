"""What runs beside the phases of a rollout: snapshots, rehearsals and audits."""

from typing import NamedTuple

from rollout.gates.facts import Facts
from rollout.models import AuditStatus


class SideWork(NamedTuple):
    name: str
    """As a sentence begins: Rehearsal 7."""
    url: str


def side_work_of(facts: Facts) -> list[SideWork]:
    """What runs now, of what the facts hold: the newest of each kind."""
    audits = [audit for audit in facts.audits if audit.status == AuditStatus.RUNNING]
    snapshots = [snapshot for snapshot in facts.snapshots if snapshot.under_way]
    rehearsals = [rehearsal for rehearsal in facts.rehearsals if rehearsal.under_way]
    return [
        SideWork(f"{kind} {work.pk}", work.get_absolute_url())
        for kind, works in (
            ("Snapshot", snapshots),
            ("Rehearsal", rehearsals),
            ("Audit", audits),
        )
        for work in works
    ]
