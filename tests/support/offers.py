"""A rollout of a plan that converts prices, some of which do not convert."""

from dataclasses import replace

from rollout import plan as r
from rollout.models import Rollout
from tests.schemas import plan_of, table
from tests.support import rollouts

PLAN = "offer-prices"
OFFERS = """
CREATE TABLE offer (id bigint PRIMARY KEY, price text, note text);
INSERT INTO offer SELECT g, (g / 4.0)::text, 'n' FROM generate_series(1, 40) g;
UPDATE offer SET price = 'free' WHERE id IN (7, 8);
UPDATE offer SET price = '=on <b>request</b>' WHERE id = 9;
"""
OFFER = table("offer", price="text", note="text")
PRICE = r.Convert(
    table=OFFER,
    legacy=("price",),
    columns={"price_cents": r.Column("bigint")},
    forward={"price_cents": "round({price}::numeric * 100)"},
    backward={"price": "to_char({price_cents} / 100.0, 'FM9999990.00')"},
    required=False,
)
NOTE = replace(
    PRICE,
    legacy=("note",),
    columns={"remark": r.Column("character varying(40)")},
    forward={"remark": "{note}"},
    backward={"note": "{remark}"},
)


def offers() -> Rollout:
    """The rollout, with nothing done yet; its plan is registered, its table made."""
    r.register(plan_of(PRICE, NOTE, name=PLAN))
    rollouts.execute(OFFERS)
    return rollouts.the_rollout(PLAN)
