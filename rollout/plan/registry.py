"""The plans of the project's apps, discovered from their ``rollout`` modules."""

from collections.abc import Iterator

from rollout.plan.errors import RolloutError
from rollout.plan.plan import Plan


class UnknownPlan(RolloutError, LookupError):
    """There is no plan of that name."""


class Registry:
    """Plans by name. Two plans of one name are kept, so that the checks can refuse them."""

    def __init__(self) -> None:
        self._plans: list[Plan] = []

    def register(self, plan: Plan) -> Plan:
        self._plans.append(plan)
        return plan

    def __iter__(self) -> Iterator[Plan]:
        return iter(self._plans)

    def find(self, name: str) -> Plan | None:
        """None if there is no such plan: the journal remembers plans that the code has lost."""
        return next((plan for plan in self._plans if plan.name == name), None)

    def get(self, name: str) -> Plan:
        """Raises UnknownPlan, whose message names the plans there are."""
        if plan := self.find(name):
            return plan
        known = ", ".join(sorted(plan.name for plan in self._plans)) or "none is registered"
        raise UnknownPlan(f"There is no plan '{name}'. Known plans: {known}.")


plans = Registry()
