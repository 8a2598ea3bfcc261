"""Every statement of a whole plan, all phases forward and back, one after the other."""

from dataclasses import dataclass

from rollout import plan as r
from rollout.engine.target import Connection
from rollout.plan.actions import Action, Statement
from tests.engine.sample_plans import with_step
from tests.engine.samples import BIGINT

PLAN = with_step(
    BIGINT.plan,
    4,
    r.CreateMaterializedView(
        id="view",
        description="Count things",
        name="thing_counts",
        query="SELECT kind_id, count(*) AS things FROM things GROUP BY kind_id",
        key=("kind_id",),
    ),
)


@dataclass(frozen=True)
class Place:
    """An action of the plan, and where it stands in it."""

    phase: int
    direction: str
    step: r.Step
    action: Action

    @property
    def statement(self) -> Statement:
        assert isinstance(self.action, Statement)
        return self.action

    def __str__(self) -> str:
        return (
            f"{self.direction} {self.phase} {self.step.id}: {getattr(self.action, 'text', '')[:60]}"
        )


def places() -> list[Place]:
    """All actions of the plan, forward through the phases and back."""
    forward = [
        Place(number, "forward", step, action)
        for number, phase in enumerate(PLAN.phases)
        for step in phase.steps
        for action in PLAN.forward(step).actions
    ]
    backward = [
        Place(number, "backward", step, action)
        for number, phase in reversed(list(enumerate(PLAN.phases)))
        for step in reversed(phase.steps)
        for action in PLAN.backward(step).actions
    ]
    return forward + backward


def statements() -> dict[int, Place]:
    """Those that are SQL, by their place among all."""
    return {n: place for n, place in enumerate(places()) if isinstance(place.action, Statement)}


def fill(connection: Connection) -> None:
    BIGINT.create(connection)
    connection.execute(
        "INSERT INTO things (id, kind, state) SELECT n, (ARRAY['House', ' house', 'flat', NULL])"
        "[1 + mod(n, 4)], (ARRAY['open', 'sold', NULL])[1 + mod(n, 3)]"
        " FROM generate_series(1, 300) AS n"
    )
