"""The steps that only look: at the schema, and at the flows of the application."""

from dataclasses import dataclass

from rollout.plan.actions import CompareSchema, Probe
from rollout.plan.plan import Actions, Plan, Step


@dataclass(frozen=True, kw_only=True)
class CompareSchemaStep(Step):
    """The live tables have the columns that the plan relies on."""

    def forward(self, plan: Plan) -> Actions:
        return (CompareSchema(),)

    def backward(self, plan: Plan) -> Actions:
        return ()


@dataclass(frozen=True, kw_only=True)
class ProbeFlow(Step):
    """A flow of the application works, tested in a transaction that is rolled back."""

    flow: str
    """Dotted path of a function ``flow(*, using: str) -> str``."""

    def forward(self, plan: Plan) -> Actions:
        return (Probe(self.flow),)

    def backward(self, plan: Plan) -> Actions:
        return ()
