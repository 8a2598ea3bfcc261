"""Trying the application's flows out: in transactions that are rolled back."""

from django.db import DatabaseError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from rollout import log, queue
from rollout.environments import alias_of
from rollout.events import Event
from rollout.models import FlowProbe, Rollout
from rollout.plan import plans
from rollout.runner.verbs import Actor, Refused, alone_with, refuse_out_of_reach


def try_out(rollout: Rollout, flow: str) -> str:
    """Try a flow out, keep what came of it, and give its evidence. Raises what the flow raises."""
    alias = alias_of(rollout.environment)
    try:
        with transaction.atomic(using=alias):
            evidence: str = import_string(flow)(using=alias)
            transaction.set_rollback(True, using=alias)
    except Exception as error:
        _keep(rollout, flow, passed=False, message=str(error).strip() or type(error).__name__)
        raise
    _keep(rollout, flow, passed=True, message=evidence)
    return evidence


def ask_to_probe(rollout: Rollout, *, actor: Actor, source: str = "web") -> None:
    """Have a worker try every flow of the plan out. Raises Refused."""
    refuse_out_of_reach(rollout)
    flows = plans.get(rollout.plan).flows
    if not flows:
        raise Refused("The plan probes no flow. Add the flows that matter to a phase.")
    with alone_with(rollout):
        log.record(
            Event.PROBES_ASKED_FOR,
            f"Asked to try {len(flows)} flows out.",
            actor=actor.get_username(),
            source=source,
            rollout=rollout,
        )
        queue.send_while_fresh("probe", rollout.pk)


def probe_all(rollout: Rollout) -> list[FlowProbe]:
    """Try every flow of the plan out; what came of each."""
    for flow in plans.get(rollout.plan).flows:
        try:
            try_out(rollout, flow)
        except DatabaseError:
            raise
        except Exception:  # noqa: S112  What went wrong is kept.
            continue
    newest = FlowProbe.objects.filter(rollout=rollout).order_by("flow", "-id").distinct("flow")
    return list(newest)


def _keep(rollout: Rollout, flow: str, *, passed: bool, message: str) -> None:
    FlowProbe.objects.create(
        rollout=rollout,
        flow=flow,
        at=timezone.now(),
        passed=passed,
        message=message.replace("\x00", ""),
    )
