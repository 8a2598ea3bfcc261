"""Which batches of a fill are written with care for rows that raise.

Where one row raises there are more, and with care for them they cost least in whole batches. But
care costs more than most batches without any.
"""

from dataclasses import dataclass

from rollout.plan.actions import Fill, Pass

# Batches written with care after a row raised, before one is tried without.
MAX_BATCHES = 64


@dataclass
class Care:
    """Of one worker over the pass ``plain``."""

    plain: Pass
    left: int = 0
    batches: int = 1

    def after(self, action: Pass, *, raised: bool) -> Pass:
        """How the batch after one is written that was written so, and raised or did not."""
        if not isinstance(self.plain, Fill) or self.plain.kind != "fill":
            return action
        if raised:
            if action is self.plain:
                self.batches = min(2 * self.batches, MAX_BATCHES)
            self.left = self.batches
            return self.plain.guarded
        if action is self.plain:
            self.batches = max(1, self.batches // 2)
            return action
        self.left -= 1
        return action if self.left > 0 else self.plain
