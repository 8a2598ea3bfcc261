"""What of a phase's open gates a press can request, of machines and of other leads."""

from collections.abc import Iterable

from rollout.gates.checklists import checklist_of
from rollout.gates.evidence import Evidence
from rollout.gates.registry import Action, GateStatus
from rollout.plan.checklist import BackfillRehearsed, EnvironmentIntrospected
from rollout.plan.gates import ChecklistComplete, RehearsalPassed

# The actions of gates that are no person's own part, in their order.
REQUESTED: tuple[Action, ...] = (
    "run_smoke_tests",
    "take_snapshot",
    "rehearse",
    "start_audit",
    "request_approval",
)


def missing_before(statuses: Iterable[GateStatus], evidence: Evidence) -> list[Action]:
    """Return the actions that would clear gates of a phase and that a press can do, in order.

    ``statuses`` are those of the phase's gates.
    """
    blocking = [status for status in statuses if not status.lets_through]
    names = {status.name for status in blocking}
    actions = {status.action for status in blocking}
    rehearsed: bool = RehearsalPassed.name not in names
    if ChecklistComplete.name in names:
        open_items = [item for item in checklist_of(evidence) if item.status != "pass"]
        actions |= {item.action for item in open_items}
        rehearsed &= not any(
            isinstance(item.item, EnvironmentIntrospected | BackfillRehearsed)
            and not item.item.environment
            for item in open_items
        )
    if any(status.finds_wrong_rows for status in blocking):
        # A snapshot would keep the wrong rows, and an approval would be for them.
        return [action for action in REQUESTED if action in actions & {"start_audit"}]
    if "wait" in actions or rehearsed:
        # What is running may be the rehearsal, or the snapshot before it.
        actions.discard("rehearse")
    else:
        actions.add("rehearse")
    return [action for action in REQUESTED if action in actions]
