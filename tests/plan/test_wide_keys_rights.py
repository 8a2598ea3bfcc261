"""A widening by a role that does not own all that its swap would alter."""

from rollout import plan as r
from rollout.engine.target import Target
from tests.plan.test_wide_keys import widening
from tests.schemas import MakeScenario

TICKET = r.Table(name="ticket", key=("id",), columns={"id": r.Column("integer", null=False)})
TICKETS = """
CREATE SEQUENCE numbers AS integer;
CREATE TABLE ticket (id integer PRIMARY KEY DEFAULT nextval('numbers'));
CREATE TABLE elsewhere (ticket bigint REFERENCES ticket);
ALTER TABLE ticket OWNER TO {owner};
GRANT ALL ON DATABASE "{database}" TO {owner}; GRANT ALL ON SCHEMA public TO {owner};
GRANT ALL ON SEQUENCE numbers TO {owner};
"""


def test_a_table_or_sequence_of_another_role_that_the_swap_alters_is_refused_before_phase_0(
    newest: Target, owner: str, scenario: MakeScenario
) -> None:
    tables = TICKETS.replace("{owner}", owner)
    shop = scenario(tables, widening(r.WidenKey(table=TICKET)), user=owner)
    (refusal,) = (item for item in shop.failing(0) if item.level == "blocks")
    assert "elsewhere_ticket_fkey on table elsewhere, of another role's table" in refusal.evidence
    assert "sequence numbers, of another role" in refusal.evidence
    owned = f"ALTER TABLE elsewhere OWNER TO {owner}; ALTER SEQUENCE numbers OWNER TO {owner};"
    plan = widening(r.WidenKey(table=TICKET))
    scenario(tables + owned, plan, user=owner).there_and_back()
