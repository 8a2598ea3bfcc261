"""The facts of a journal that gates share: which audit counts."""

from rollout import gates
from rollout.gates.facts import MAX_AUDITS
from rollout.models import (
    AuditReport,
    Rollout,
)
from tests.console import journal
from tests.gates.phases_so_far import phase_run


def test_the_newest_full_audit_is_requested_once_more_only_where_others_came_after_it(
    rollout: Rollout,
) -> None:
    full = journal.audited(rollout)

    def asked() -> list[AuditReport | None]:
        facts = gates.Evidence(rollout, 3).facts
        return [facts.audits[0], facts.full_audit]

    few = journal.queries_of(asked)
    journal.audited(rollout, "running")
    assert asked()[1] == full
    for _ in range(MAX_AUDITS):
        journal.audited(rollout, mode="sample")
    assert asked()[1] == full
    assert journal.queries_of(asked) == few + 1


def test_the_audit_of_a_phase_stays_in_sight_behind_newer_ones(rollout: Rollout) -> None:
    run = phase_run(rollout, 2)
    _, own = [journal.audited(rollout, run=run) for _ in range(2)]
    newer = [journal.audited(rollout, mode="sample") for _ in range(MAX_AUDITS)]
    assert gates.Evidence(rollout, 3).facts.audits == [*reversed(newer), own]
