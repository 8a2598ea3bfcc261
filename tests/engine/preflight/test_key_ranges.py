"""When the integer keys of a plan's tables run out."""

import pytest

from rollout import plan as r
from rollout.engine import preflight
from rollout.engine.preflight import Item
from rollout.engine.preflight.key_ranges import NAME
from rollout.engine.target import Connection, Target
from tests.plan.test_wide_keys import widening
from tests.schemas import plan_of, table

TICKETS = """
CREATE TABLE ticket (id serial PRIMARY KEY, subject text, made timestamptz);
INSERT INTO ticket SELECT g * {step}, 's', now() - (1000 - g) * interval '1 hour'
  FROM generate_series(1, 1000) g;
"""
TICKET = r.Table(name="ticket", key=("id",), columns={"id": r.Column("integer", null=False)})
WIDE = widening(r.WidenKey(table=TICKET))
OTHER = plan_of(
    r.Derived(
        table=table("ticket", id=r.Column("integer", null=False), subject="text"),
        column="is_urgent",
        type="boolean",
        expression="{subject} = 'urgent'",
        required=False,
        writable=True,
    )
)


def item_of(target: Target, plan: r.Plan) -> Item:
    (item,) = [i for i in preflight.run(target, plan, 0).items if i.name == NAME]
    return item


# Numbers between two rows, the plan, the level, and words of the answer.
CASES = {
    "a key that a plan widens is forecast however little is used": (
        *(1000, WIDE, "info"),
        *("ticket.id has used 1,000,000 of 2,147,483,647 (0 %).", "more than 100 years", ""),
    ),
    "one that runs out soon wants phase 4 before": (
        *(1_000_000, WIDE, "warns"),
        *("(46 %)", "it runs out in 4", "Finish phase 4 before"),
    ),
    "one that another plan leaves alone is named once much is used": (
        *(1_000_000, OTHER, "warns"),
        *("(46 %)", "it runs out in 4", "a plan of its own with a WidenKey"),
    ),
    "one with time is only named": (
        *(1000, OTHER, "pass"),
        *("No integer key of ticket has used more than 40 %", "", ""),
    ),
}


@pytest.mark.parametrize(
    ("step", "plan", "level", "usage", "forecast", "advice"), CASES.values(), ids=CASES
)
def test_a_preflight_says_when_an_integer_key_runs_out(
    target: Target,
    connection: Connection,
    step: int,
    plan: r.Plan,
    level: str,
    usage: str,
    forecast: str,
    advice: str,
) -> None:
    connection.execute(TICKETS.replace("{step}", str(step)).encode())
    item = item_of(target, plan)
    assert item.level == level
    assert usage in item.evidence
    assert forecast in item.evidence
    assert advice in item.advice


def test_readiness_names_a_key_that_runs_out_soon(target: Target, connection: Connection) -> None:
    connection.execute(TICKETS.replace("{step}", "1000000").encode())
    (item,) = [i for i in preflight.readiness(target, WIDE, 0).items if i.name == NAME]
    assert item.level == "warns"
