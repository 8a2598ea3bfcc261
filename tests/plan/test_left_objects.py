"""What stays with a text column when a vocabulary takes its name is listed before it changes."""

from dataclasses import replace

from rollout import plan as r
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.plan.test_vocabularies import CHECK, EACH, ENUM, ORDERS, TABLE, plan_of
from tests.schemas import MakeScenario

BOUND = """
CREATE INDEX by_state ON "order" (state DESC, id);
CREATE INDEX of_new ON "order" (id) WHERE state = 'new';
CREATE INDEX "by case" ON "order" (lower(state));
CREATE INDEX unused ON "order" (state);
CREATE INDEX other ON "order" (id DESC);
ALTER TABLE "order" ADD CONSTRAINT short CHECK (length(state) < 9);
CREATE STATISTICS together ON id, state FROM "order";
"""
NAME = "objects left with order.state"


def with_steps(vocabulary: r.ToEnum | r.ToCheck) -> r.Plan:
    """A plan that builds one of the indexes over the new column, and drops another one."""
    (new,) = vocabulary.translation.columns
    build = r.CreateIndex(
        id="index", description="Index states", table=TABLE, name="states", columns=(new, "id")
    )
    drop = r.DropIndex(
        id="unindex", description="Drop it", table=TABLE, name="unused", columns=("state",)
    )
    plan = plan_of(vocabulary)
    *before, enforce, contract = plan.phases
    enforce = replace(enforce, steps=(build, *enforce.steps))
    contract = replace(contract, steps=(drop, *contract.steps))
    return replace(plan, phases=(*before, enforce, contract))  # type: ignore[arg-type]


@EACH
def test_objects_without_a_successor_are_listed_before_anything_changes(
    vocabulary: r.ToEnum | r.ToCheck, scenario: MakeScenario, server: Target
) -> None:
    orders = scenario(ORDERS + BOUND, with_steps(vocabulary))
    assert orders.check() == []
    before = schema_of(orders.target)
    (ready,) = (item for item in orders.readiness().items if item.name == NAME)
    left = ['index "by case"', "index of_new", "statistics object together"]
    if vocabulary == ENUM:
        left.insert(0, 'constraint short on table "order"')
    for item in (ready, orders.item(1, NAME)):
        assert item.level == "warns"
        count, _, listed = item.evidence.partition(" objects are bound to the legacy column ")
        assert int(count) == len(left)
        assert listed.startswith("order.state, called state_legacy from the cutover on: ")
        examples = listed.partition("Examples: ")[2].rstrip(".").split(", ")
        assert sorted(examples) == sorted(left)
    orders.carry_out(0, 1, 2)
    assert orders.item(3, NAME).evidence == ready.evidence
    orders.carry_out(3, 4)
    orders.take_back(4, 3, 2, 1, 0)
    assert schema_of(orders.target) == before


def test_a_plan_with_a_successor_of_each_warns_of_nothing(
    scenario: MakeScenario, newest: Target
) -> None:
    orders = scenario(ORDERS + 'CREATE INDEX by_id ON "order" (state, id)', with_steps(CHECK))
    assert orders.item(1, NAME).level == "pass"
    assert orders.item(3, NAME).level == "pass"


def test_one_object_is_in_the_singular(scenario: MakeScenario, newest: Target) -> None:
    orders = scenario(ORDERS + 'CREATE INDEX by_case ON "order" (lower(state))', plan_of(CHECK))
    assert orders.item(1, NAME).evidence == (
        "1 object is bound to the legacy column order.state, called state_legacy from the cutover "
        "on: the new column of its name gets no such object. Examples: index by_case."
    )
