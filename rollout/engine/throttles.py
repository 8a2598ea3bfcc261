"""The control law of a pass's pace: from the signals of each look to a share of full speed.

Additive up, multiplicative down: each second with a signal above its bound takes a part of the
share away, more the further above it is; each second without one adds a little. What is stopped
stays stopped until its signal is below the hard bound, and then begins slowly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from rollout.engine.health import Signal

# With less a signal that the pace does not move, such as an old transaction, would never let a
# large table end.
MIN_SHARE = 0.1
# Share gained in a second: 18 s from the least to full speed.
RECOVERY = 0.05
# What a second leaves of the share: just above a bound, and from twice the bound on.
MILD, HARSH = 0.85, 0.5
# A look counts for no more seconds, however long the batch before it took.
MAX_STEP_SECONDS = 2.0


@dataclass(frozen=True)
class Throttle:
    """The share of full speed that is allowed, from ``MIN_SHARE`` to 1, and the signal behind it.

    ``cause`` is None at full speed only; while the share recovers it is the last signal that was
    above its bound, as it is now. ``above`` are all that are. While ``held``, nothing may run.
    """

    share: float = 1.0
    cause: Signal | None = None
    held: bool = False
    above: tuple[Signal, ...] = field(default=(), compare=False)

    def after(self, signals: Iterable[Signal], *, seconds: float) -> Self:
        """The throttle after a look, ``seconds`` after the last one."""
        seconds = min(max(seconds, 0.0), MAX_STEP_SECONDS)
        signals = list(signals)
        above = [signal for signal in signals if signal.status in ("throttle", "stop")]
        if not above:
            share = min(1.0, self.share + RECOVERY * seconds)
            cause = None if share == 1.0 else _again(self.cause, signals) or self.cause
            return replace(self, share=share, cause=cause, held=False, above=())
        left = min(_left_by(signal) for signal in above) ** seconds
        stops = [signal for signal in above if signal.status == "stop"]
        return replace(
            self,
            share=max(MIN_SHARE, self.share * left),
            # The same as before where it is one of several, so that the reason does not flicker.
            cause=_again(self.cause, stops or above) or min(stops or above, key=_left_by),
            held=bool(stops),
            above=tuple(above),
        )

    @property
    def reason(self) -> str:
        """What people read: why the work is slower; empty at full speed."""
        if self.cause is None:
            return ""
        if self.held:
            return self.cause.reason
        # In steps, so that what is stored does not change with each look.
        share = f"{round(self.share * 20) * 5}% of full speed"
        if self.cause.status == "throttle":
            return f"throttled to {share}: {self.cause.reason}"
        return f"throttled to {share}, speeding up again: {self.cause.reason}"


def _left_by(signal: Signal) -> float:
    """What a second of a signal above its bound leaves of the share."""
    if signal.status == "stop":
        return HARSH
    if not signal.value or not signal.bound:
        return MILD
    return max(HARSH, min(MILD, signal.bound / signal.value))


def _again(before: Signal | None, signals: Iterable[Signal]) -> Signal | None:
    """The signal of the same name, as it is now."""
    return next((s for s in signals if before is not None and s.name == before.name), None)
