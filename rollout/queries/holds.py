"""Guardrails that hold the next phase until a lead releases them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from django.urls import reverse

from rollout.gates.phase_states import is_not_started, phases_done
from rollout.journal.environments import configured
from rollout.models import PhaseRun, Rollout, RuleState, RuleVerdict
from rollout.plan import plans
from rollout.plan.plan import CONTRACT, PREPARE, Plan
from rollout.queries.waits import Gravity, May, Waiting, newest_of_phases


def releases_of(runs: list[PhaseRun], may: May) -> list[Waiting]:
    """The guardrail that holds the next phase of each rollout, where a lead has to release it."""
    phases: dict[int, dict[int, PhaseRun]] = defaultdict(dict)
    for (rollout, phase), run in newest_of_phases(runs).items():
        if run.rollout.environment in configured() and may("start_rollout", run.rollout):
            phases[rollout][phase] = run
    due = [rollout for rollout, of_rollout in phases.items() if _is_between(of_rollout)]
    return [
        Waiting(
            hold.rollout,
            release_of(hold),
            "",
            hold.since,
            _rules_url(hold.rollout),
            comment=hold.message,
            gravity=Gravity.STANDSTILL,
        )
        for hold in _holds(due)
    ]


def _is_between(runs: Mapping[int, PhaseRun]) -> bool:
    """Whether phases are done and the next one, which gates may hold up, has not begun."""
    done = phases_done(runs)
    return PREPARE < done <= CONTRACT and is_not_started(runs.get(done))


def _holds(rollouts: list[int]) -> list[RuleState]:
    """Of each rollout the first guardrail that holds it and ends by no clock."""
    if not rollouts:
        return []
    acting = RuleState.objects.filter(rollout__in=rollouts, action="hold", acting=True)
    rules: dict[Rollout, list[RuleState]] = defaultdict(list)
    for rule in acting.select_related("rollout"):
        rules[rule.rollout].append(rule)
    known = ((plans.find(rollout.plan), of_rollout) for rollout, of_rollout in rules.items())
    holds = (_first_of(plan, of_rollout) for plan, of_rollout in known if plan is not None)
    return [hold for hold in holds if hold is not None]


def _first_of(plan: Plan, rules: Iterable[RuleState]) -> RuleState | None:
    end_alone = {rule.id for rule in plan.all_guardrails if rule.resumes}
    return next((rule for rule in rules if rule.rule not in end_alone), None)


def release_of(hold: RuleState) -> str:
    """``Release the hold of guardrail “slow”``, after a look at it if it is not OK again."""
    if hold.verdict == RuleVerdict.KEPT:
        return f"Release the hold of guardrail “{hold.rule}”"
    return f"Investigate guardrail “{hold.rule}”, then release its hold"


def _rules_url(rollout: Rollout) -> str:
    page = reverse("rollout:monitoring", args=[rollout.plan, rollout.environment])
    return f"{page}#rules"
