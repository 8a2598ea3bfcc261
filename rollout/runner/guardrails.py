"""What people do about guardrails: release the hold of one."""

from django.utils import timezone

from rollout import journal
from rollout.journal import activity_log
from rollout.journal.actors import Actor, Refused
from rollout.journal.events import Event
from rollout.models import Rollout, RuleState


def release(rollout: Rollout, rule_id: str, *, actor: Actor, source: str = "web") -> RuleState:
    """Let the next phase start although a guardrail blocks it. Raises Refused."""
    with journal.atomic():
        state = (
            RuleState.objects.select_for_update()
            .filter(rollout=rollout, rule=rule_id, action="hold", acting=True)
            .first()
        )
        if state is None:
            raise Refused(f"Guardrail “{rule_id}” blocks no phase: there is nothing to release.")
        state.acting, state.counts_from = False, timezone.now()
        state.save(update_fields=["acting", "counts_from"])
        activity_log.record(
            Event.HOLD_RELEASED,
            f"Released the hold of guardrail “{rule_id}”. {state.message}",
            on=rollout,
            actor=actor,
            source=source,
            rule=rule_id,
        )
    return state
