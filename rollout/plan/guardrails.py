"""Guardrails: rules about the application's latency and errors, evaluated while a plan is running.

The style is that of analysis in progressive delivery: one bad window says little, three of five do,
and a window without data proves nothing either way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Statistic = Literal["p50", "p95", "p99", "error_rate", "consecutive_errors", "wrong_values"]
GuardrailAction = Literal["warn", "throttle", "pause", "hold"]
WindowVerdict = Literal["kept", "broken", "inconclusive"]
Trend = Literal["", "recovering", "worsening"]

# Statistics that are counts of their own: they need neither windows nor a baseline.
COUNTED = ("consecutive_errors", "wrong_values")


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """A bound on what the application's calls do, and what happens once it is broken.

    Latencies are in milliseconds, error rates are shares from 0 to 1. A window breaches it when
    its value is above ``at_most``, or above ``times`` the baseline *and* above the baseline plus
    ``above``, of those that are given. The baseline is the hour before the run was requested.

    warn      says so, in the log and to those who are notified
    throttle  slows backfills down for as long as it lasts
    pause     pauses what is running, a rollback excepted: that may be the cure
    hold      lets no further phase start

    A person resumes what a guardrail paused or holds, unless ``resumes``.
    """

    id: str
    """Unique in the plan."""
    statistic: Statistic
    """What is measured."""
    action: GuardrailAction
    """What happens when it is breached."""
    operation: str = ""
    """One of the application's operations; empty for all together."""
    at_most: float | None = None
    """The largest value allowed: milliseconds, a share or a count."""
    times: float | None = None
    """The largest multiple of the baseline allowed."""
    above: float | None = None
    """How far above the baseline a value must be."""
    fewest_calls: int = 10
    """A window with fewer is inconclusive."""
    seconds: int = 3
    """How long a window is."""
    windows: int = 5
    """How many of the last windows count."""
    broken_windows: int = 3
    """This many broken ones of the last ``windows`` breach the guardrail."""
    resumes: bool = False
    """Whether a hold ends without a person."""

    @property
    def is_relative(self) -> bool:
        return self.times is not None or self.above is not None

    @property
    def is_share(self) -> bool:
        return self.statistic == "error_rate"

    def bound(self, usual: float | None) -> float | None:
        """The value above which a window breaches it; None while nothing can be said."""
        bounds = [] if self.at_most is None else [self.at_most]
        if self.is_relative and usual is not None:
            bounds.append(max(usual * (self.times or 1.0), usual + (self.above or 0.0)))
        return min(bounds, default=None)

    def verdict(self, value: float | None, *, calls: int, usual: float | None) -> WindowVerdict:
        """What one window says."""
        bound = self.bound(usual)
        if value is None or bound is None or calls < self.fewest_calls:
            return "inconclusive"
        return "broken" if value > bound else "kept"

    def together(self, verdicts: Sequence[WindowVerdict], *, acting: bool) -> WindowVerdict:
        """What the last windows say together.

        A guardrail that acts is kept again only when no window breaks it any more.
        """
        broken = verdicts.count("broken")
        if broken >= self.broken_windows or (acting and broken):
            return "broken"
        if broken + verdicts.count("kept") < self.broken_windows:
            return "inconclusive"
        return "kept"

    def trend(self, verdicts: Sequence[WindowVerdict]) -> tuple[Trend, str]:
        """Which way a rule that acts goes, from its windows, the oldest first; and how far.

        It recovers by the windows within its limit since the last one above. Where that is the
        newest, and fewer are above than it takes to begin, it gets worse again.
        """
        above, number = verdicts.count("broken"), len(verdicts)
        if not above:
            return "", ""
        since = list(reversed(verdicts)).index("broken")
        if within := verdicts[number - since :].count("kept"):
            return "recovering", f"{within} of {number} windows within its limit"
        if not since and above < self.broken_windows:
            return "worsening", f"again {above} of {number} windows above its limit"
        return "", ""

    @property
    def sentence(self) -> str:
        """The guardrail as people read it."""
        who = f"of {self.operation}" if self.operation else "of all operations"
        what = {
            "error_rate": f"error rate {who}",
            "consecutive_errors": f"consecutive errors {who}",
            "wrong_values": "wrong values found by audits or shadow reads",
        }.get(self.statistic, f"{self.statistic} {who}")
        bounds = []
        if self.is_relative:
            parts = [] if self.times is None else [f"{self.times:g} times the baseline"]
            if self.above is not None:
                parts.append(f"the baseline plus {self._shown(self.above)}")
            bounds.append(" and ".join(parts))
        if self.at_most is not None:
            bounds.append(self._shown(self.at_most))
        how_often = (
            ""
            if self.statistic in COUNTED
            else f" for {self.broken_windows} of {self.windows} windows of {self.seconds} s"
        )
        words = f"{what} above {' or above '.join(bounds)}{how_often}"
        return words[0].upper() + words[1:] if words[1].islower() else words

    def _shown(self, value: float) -> str:
        if self.is_share:
            return f"{value:.1%}"
        return f"{value:g}" if self.statistic in COUNTED else f"{value:g} ms"


# Guardrails of every plan: a wrong lookup value stops a rollout, whatever else its plan allows.
ALWAYS = (
    Guardrail(id="wrong-values", statistic="wrong_values", at_most=0, action="pause"),
    Guardrail(
        id="wrong-values-before-a-phase",
        statistic="wrong_values",
        at_most=0,
        action="hold",
        # A full audit that is clean has settled what was found before it.
        resumes=True,
    ),
)

# Guardrails of a plan that names none, besides those of every plan.
STANDARD = (
    Guardrail(id="slower", statistic="p95", times=2.0, above=50.0, action="throttle"),
    Guardrail(id="slow", statistic="p95", times=3.0, above=250.0, action="pause"),
    Guardrail(id="tail", statistic="p99", times=4.0, above=500.0, action="warn"),
    Guardrail(id="errors", statistic="error_rate", above=0.05, at_most=0.2, action="pause"),
    Guardrail(id="failing", statistic="consecutive_errors", at_most=9, action="pause"),
    Guardrail(id="errors-before-a-phase", statistic="error_rate", at_most=0.05, action="hold"),
)
