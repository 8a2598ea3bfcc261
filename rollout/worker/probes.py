"""Runs smoke tests in transactions that are rolled back."""

from django.db import DatabaseError, transaction
from django.utils.module_loading import import_string

from rollout.journal.environments import alias_of
from rollout.journal.moments import by_the_database
from rollout.models import FlowProbe, Rollout
from rollout.plan import plans


def try_out(rollout: Rollout, flow: str) -> str:
    """Run a flow's smoke test, store its result, give its evidence. Raises what the flow raises."""
    alias = alias_of(rollout.environment)
    try:
        with transaction.atomic(using=alias):
            evidence: str = import_string(flow)(using=alias)
            transaction.set_rollback(True, using=alias)
    except Exception as error:
        _keep(rollout, flow, passed=False, message=str(error).strip() or type(error).__name__)
        raise
    evidence = f"{evidence} The test was rolled back."
    _keep(rollout, flow, passed=True, message=evidence)
    return evidence


def probe_all(rollout: Rollout) -> list[FlowProbe]:
    """Run every smoke test of the plan; the newest result of each."""
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
        at=by_the_database(),
        passed=passed,
        message=message.replace("\x00", ""),
    )
