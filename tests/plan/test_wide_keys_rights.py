"""Who owns what a widening alters, and who may use its sequence."""

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


NUMBERED = """
CREATE TABLE ticket (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
GRANT SELECT ON SEQUENCE ticket_id_seq TO pg_monitor;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO pg_monitor, PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT UPDATE ON SEQUENCES TO pg_monitor;
"""
RIGHTS = """
SELECT x.grantee::regrole::text, x.privilege_type FROM pg_class AS c, aclexplode(c.relacl) AS x
 WHERE c.relname = 'ticket_id_seq' AND x.grantee <> c.relowner
"""


def test_an_identity_that_is_made_again_has_no_rights_that_new_sequences_have_by_default(
    scenario: MakeScenario, server: Target
) -> None:
    shop = scenario(NUMBERED, widening(r.WidenKey(table=TICKET)))
    rights = [("pg_monitor", "SELECT")]
    assert shop.application(RIGHTS) == rights
    shop.carry_out(0, 1, 2, 3)
    assert shop.application(RIGHTS) == rights
    shop.take_back(3, 2, 1, 0)
    assert shop.application(RIGHTS) == rights
