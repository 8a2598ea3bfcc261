"""All that can be asked of machines and of other leads before a phase, by one press."""

from collections.abc import Callable
from dataclasses import dataclass, field

from rollout import gates, queue
from rollout.gates import Evidence
from rollout.gates.preparations import missing_before
from rollout.gates.registry import Action
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.journal.rollouts import alone_with, plan_of, refuse_out_of_reach
from rollout.journal.snapshots import newest_verified
from rollout.logs.texts import counted
from rollout.models import Rollout
from rollout.runner.approvals import ask_for_approval
from rollout.runner.audits import start_audit
from rollout.runner.rehearsals import refusal_to_rehearse, rehearse
from rollout.runner.snapshots import take_snapshot

# The permission that each action needs.
PERMISSIONS: dict[Action, str] = {
    "run_smoke_tests": "tick_checklist",
    "take_snapshot": "take_snapshot",
    "rehearse": "rehearse_rollout",
    "start_audit": "audit_rollout",
    "request_approval": "start_rollout",
}


@dataclass
class Prepared:
    """What was requested, by its action, and why the rest was not."""

    done: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def prepare(
    rollout: Rollout,
    phase: int,
    *,
    allowed: Callable[[str], bool],
    actor: Actor,
    source: str = "web",
) -> Prepared:
    """Ask for everything that a phase still needs and that is not a person's own part.

    ``allowed`` tells whether the actor has a permission here; what they may not do is left out.
    A rehearsal that has no fresh snapshot begins when the one that is taken now is verified.
    """
    evidence = Evidence(rollout, phase, plan=plan_of(rollout))
    missing: list[str] = [
        action
        for action in missing_before(gates.check_gates(evidence), evidence)
        if allowed(PERMISSIONS[action])
    ]
    if "rehearse" in missing and (
        "take_snapshot" in missing or refusal_to_rehearse(rollout, newest_verified(rollout))
    ):
        missing = [action for action in missing if action not in ("take_snapshot", "rehearse")]
        missing.append("snapshot_and_rehearse")
    verbs: dict[str, Callable[[], object]] = {
        "run_smoke_tests": lambda: ask_to_probe(rollout, actor=actor, source=source),
        "take_snapshot": lambda: take_snapshot(rollout, actor=actor, source=source),
        "rehearse": lambda: rehearse(rollout, actor=actor, source=source),
        "snapshot_and_rehearse": lambda: take_snapshot(
            rollout, then_rehearse=True, actor=actor, source=source
        ),
        "start_audit": lambda: start_audit(rollout, actor=actor, source=source),
        "request_approval": lambda: ask_for_approval(rollout, phase, actor=actor, source=source),
    }
    prepared = Prepared()
    for action in missing:
        try:
            verbs[action]()
        except Refused as refusal:
            prepared.refused.append(str(refusal))
        else:
            prepared.done.append(action)
    return prepared


def ask_to_probe(rollout: Rollout, *, actor: Actor, source: str = "web") -> None:
    """Have a worker run every smoke test of the plan. Raises Refused."""
    refuse_out_of_reach(rollout)
    flows = plan_of(rollout).flows
    if not flows:
        raise Refused("The plan defines no smoke tests. Add them to a phase first.")
    with alone_with(rollout):
        activity_log.record(
            Event.PROBES_ASKED_FOR,
            f"Started {counted(len(flows), 'smoke test')}.",
            on=rollout,
            actor=actor,
            source=source,
        )
        queue.send_while_fresh("probe", rollout.pk)
