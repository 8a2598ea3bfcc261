"""What the gates of one phase are answered from."""

from copy import copy
from datetime import datetime

from django.contrib.auth import get_user_model

from rollout.gates.facts import Facts
from rollout.gates.phase_states import newest_runs
from rollout.journal.environments import is_protected
from rollout.models import PhaseRun, Rollout, SignOff, SignOffKind
from rollout.plan import plans
from rollout.plan.gates import Gate
from rollout.plan.plan import Plan


class Evidence:
    """The journal of a rollout, as far as the gates before one of its phases ask for it."""

    def __init__(
        self,
        rollout: Rollout,
        number: int,
        *,
        plan: Plan | None = None,
        runs: dict[int, PhaseRun] | None = None,
        starter: object = None,
    ) -> None:
        """``starter`` is who asks to start the phase: whose own approval does not count."""
        self.rollout = rollout
        self.number = number
        self.plan = plans.get(rollout.plan) if plan is None else plan
        self.runs = newest_runs(rollout) if runs is None else runs
        self.starter = starter
        self.facts = Facts(rollout, self.plan, self.runs)

    def of_phase(self, number: int) -> "Evidence":
        """The evidence for another phase of the same rollout, with the same facts."""
        other = copy(self)
        other.number = number
        return other

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates before the phase in this environment."""
        return self.plan.gates_of(self.number, protected=is_protected(self.rollout.environment))

    @property
    def now(self) -> datetime:
        """By the database's clock, when a gate asked for it first."""
        return self.facts.now

    @property
    def run(self) -> PhaseRun | None:
        """The newest run of the phase itself."""
        return self.runs.get(self.number)

    @property
    def run_before(self) -> PhaseRun | None:
        """The newest run of the phase before it."""
        return self.runs.get(self.number - 1)

    def sign_offs(self, kind: SignOffKind, *, phase: int | None = None) -> list[SignOff]:
        """What was signed of a kind about this phase or another, the newest first."""
        number = self.number if phase is None else phase
        return [s for s in self.facts.sign_offs if s.kind == kind and s.phase == number]

    def is_by_another(self, sign_off: SignOff) -> bool:
        """Whether somebody else signed than the one who starts the phase.

        Only a user of the site can be distinguished from another.
        """
        if self.starter is None:
            return True
        return isinstance(self.starter, get_user_model()) and sign_off.actor_id != self.starter.pk
