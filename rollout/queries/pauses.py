"""Why a run is paused: who or which guardrail did it, on which numbers, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollout.gates.facts import Facts
from rollout.models import PhaseRun, RuleState, RuleVerdict, RunState
from rollout.plan import plans
from rollout.plan.guardrails import Guardrail, Trend
from rollout.plan.registry import UnknownPlan
from rollout.queries.side_work import SideWork, side_work_of

PAUSED = (RunState.PAUSING, RunState.PAUSED)


@dataclass(frozen=True)
class Pause:
    """Who paused a run; of a guardrail also its message then, its state now and its limit."""

    by: str
    at: datetime
    guardrail: str = ""
    """Its id; empty where a person paused the run."""
    message: str = ""
    rule: Guardrail | None = None
    """None where the plan no longer has it."""
    now: RuleState | None = None
    side_work: Sequence[SideWork] = ()
    """What runs beside the run and may be the cause of a guardrail's breach."""

    is_pending: bool = False
    """Whether the run has still to reach a point at which it can stop."""

    @property
    def title(self) -> str:
        return f"{'Pause requested' if self.is_pending else 'Paused'} by {self.who}"

    @property
    def who(self) -> str:
        return f"guardrail “{self.guardrail}”" if self.guardrail else self.by

    @property
    def badge(self) -> str:
        """The state of the badge of the guardrail now."""
        if self.now is None:
            return ""
        return trend_of(self.rule, self.now)[0] or self.now.verdict

    @property
    def is_over(self) -> bool:
        """Whether the guardrail is OK again by now."""
        return self.now is not None and self.now.verdict == "kept"

    @property
    def resumes(self) -> bool:
        """Whether the run resumes automatically once the guardrail is OK."""
        return self.rule is not None and self.rule.resumes

    @property
    def is_ready(self) -> bool:
        """Whether nothing speaks against resuming: a person paused it, or the guardrail is OK."""
        return not self.guardrail or self.is_over

    @property
    def next(self) -> str:
        """What to do next, in sentences."""
        if self.is_pending and not self.guardrail:
            return "The run stops at its next safe point. It can be resumed then."
        if not self.guardrail:
            return "Progress is saved: resuming continues from the last checkpoint."
        if self.resumes:
            return "Resumes automatically once the guardrail is OK. Cancel to stop it."
        if self.rule is not None and self.rule.statistic == "wrong_values":
            return "Open the report and repair its rows, then resume; or cancel and roll back."
        ready = "Guardrail OK again: resume. " if self.is_over else ""
        cause = "Find the cause in Monitoring"
        if self.rule is not None and self.rule.statistic in ("p50", "p95", "p99"):
            cause = "Likely causes: lock waits, slow queries, or other work on the server. Check"
        wait = "" if self.is_over else f"{cause}, then resume. "
        return f"{ready}{wait}Earlier windows no longer count then. Or cancel and roll back."


def trend_of(rule: Guardrail | None, state: RuleState) -> tuple[Trend, str]:
    """Which way a breached guardrail goes while it acts: ``Guardrail.trend`` of its windows."""
    if rule is None or not state.acting or state.verdict != RuleVerdict.BROKEN:
        return "", ""
    return rule.trend([window["verdict"] for window in state.windows])


def pause_of(run: PhaseRun | None, facts: Facts | None = None) -> Pause | None:
    """Why a run is paused or about to be; None if it is not, or if that is not known.

    Without ``facts`` nothing is said of what runs beside it.
    """
    if run is None or run.state not in PAUSED or not run.pause:
        return None
    guardrail = run.pause["rule"]
    rule = state = None
    if guardrail:
        try:
            rules = plans.get(run.rollout.plan).all_guardrails
            rule = next((rule for rule in rules if rule.id == guardrail), None)
        except UnknownPlan:
            pass
        state = RuleState.objects.filter(rollout=run.rollout_id, rule=guardrail).first()
    at = datetime.fromisoformat(run.pause["at"])
    # Wrong values come from no load.
    is_of_load = rule is not None and rule.statistic != "wrong_values"
    side_work = side_work_of(facts) if facts is not None and is_of_load else ()
    by, message = run.pause["by"], run.pause["message"]
    is_pending = run.state == RunState.PAUSING
    return Pause(by, at, guardrail, message, rule, state, side_work, is_pending)


def as_text(pause: Pause) -> str:
    """A pause for people in a shell."""
    now = f" Now: {pause.now.message}" if pause.now is not None else ""
    message = f" {pause.message}{now}" if pause.guardrail else ""
    return f"{pause.title}.{message} {pause.next}"
