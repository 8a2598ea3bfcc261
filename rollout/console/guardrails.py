"""The plan's guardrails beside what they last found, as pages show them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rollout.console.formats import duration
from rollout.journal.labels import ACTIONS
from rollout.models import Rollout, RuleState
from rollout.plan import plans
from rollout.plan.guardrails import Guardrail, Trend
from rollout.queries.pauses import trend_of
from rollout.telemetry.signals import with_unit


@dataclass(frozen=True)
class RuleRow:
    """A rule of the plan beside what it says at present; a rule that was never judged has none."""

    rule: Guardrail
    state: RuleState | None

    @property
    def does(self) -> str:
        again = ", auto-resumes" if self.rule.resumes else ""
        return ACTIONS[self.rule.action][0] + again

    @property
    def doing(self) -> str:
        """What it does about it at this moment; empty for nothing."""
        if self.state is None or not self.state.acting:
            return ""
        return ACTIONS[self.rule.action][1]

    @property
    def is_breached(self) -> bool:
        """Whether it is breached, or still acts because it was."""
        return self.verdict == "broken" or bool(self.doing)

    @property
    def now(self) -> str:
        """How its windows stand, as a part of a sentence."""
        trend, how_far = self.trend
        if trend:
            return f"{trend}, {how_far}"
        windows = self.state.windows if self.state else []
        if above := sum(window["verdict"] == "broken" for window in windows):
            bound = self.state.bound if self.state else None
            limit = "" if bound is None else f" of {with_unit(self.rule, bound)}"
            return f"{above} of {len(windows)} windows above its limit{limit}"
        return f"in {duration(self.rule.seconds * self.rule.windows)}"

    @property
    def needs_people(self) -> bool:
        """Whether it is breached and no throttle, which ends by itself."""
        return self.is_breached and self.rule.action != "throttle"

    @property
    def tone(self) -> str:
        """While it is breached: bad where a person has to act, info for what heals itself."""
        if self.doing and self.rule.action == "throttle":
            return "info"
        is_on_people = self.rule.action in ("pause", "hold") and not self.rule.resumes
        return "bad" if self.doing and is_on_people else "warn"

    @property
    def verdict(self) -> str:
        return self.state.verdict if self.state else "inconclusive"

    @property
    def trend(self) -> tuple[Trend, str]:
        return trend_of(self.rule, self.state) if self.state is not None else ("", "")

    @property
    def badge(self) -> str:
        return self.trend[0] or self.verdict

    @property
    def sentence(self) -> str:
        """The verdict, as the rest of a sentence."""
        trend, how_far = self.trend
        if trend:
            return f"is {trend}, {how_far}"
        return {
            "broken": "is breached",
            "kept": "is OK again",
            "error": "cannot be evaluated",
        }.get(self.verdict, "has too few calls to be evaluated")

    @property
    def message(self) -> str:
        return self.state.message if self.state else "Not evaluated yet."

    @property
    def windows(self) -> list[dict[str, Any]]:
        """Its windows with a word for each value, the oldest first."""
        if self.state is None:
            return []
        return [{**window, "shown": self._shown(window["value"])} for window in self.state.windows]

    def _shown(self, value: float | None) -> str:
        return "no calls" if value is None else with_unit(self.rule, value)


def rules_of(rollout: Rollout, judged: Iterable[RuleState]) -> list[RuleRow]:
    """The rules of a rollout's plan, in the plan's order, with what was last said of each."""
    states = {state.rule: state for state in judged}
    return [RuleRow(rule, states.get(rule.id)) for rule in plans.get(rollout.plan).all_guardrails]
