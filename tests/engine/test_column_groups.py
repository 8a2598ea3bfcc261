"""Columns whose values repeat together are told from others, and scaffolded as a table."""

import pytest

from rollout.engine.target import Connection, Target
from rollout.plan import Extract, Lookup
from tests.engine.actions import do_phase, undo_phase
from tests.queries.test_scaffolds import plan_of, scaffolded

pytestmark = pytest.mark.usefixtures("own_plans")

HOMES = """
CREATE TABLE homes (
  id bigint PRIMARY KEY, agent_name varchar(40), agent_phone text, agent_email text,
  owner_name text, owner_street text, price_text text, price_currency text);
INSERT INTO homes SELECT n, 'Agent ' || n % 20, '0' || n % 20, 'a' || n % 20 || '@x.org',
  'Owner ' || n, 'Street ' || n, n % 30, (ARRAY['EUR', 'USD'])[1 + n % 2]
  FROM generate_series(1, 200) AS n;
UPDATE homes SET agent_phone = '0-19' WHERE id = 19;
UPDATE homes SET agent_name = NULL, agent_phone = '', agent_email = NULL WHERE id = 20;
CREATE INDEX homes_agent_name ON homes (agent_name);
CREATE INDEX homes_agent_email ON homes (agent_email);
"""


def test_groups_of_columns_that_repeat_together_become_a_table_of_their_own(
    target: Target, connection: Connection
) -> None:
    connection.execute(HOMES.encode())
    columns = ("agent_name", "agent_phone", "agent_email", "owner_name", "owner_street")
    written = scaffolded(connection, "homes", *columns, "price_text", "price_currency")
    plan = plan_of(written)
    agent, *others = plan.translations
    # Owners are all different, and a number tells no currency.
    assert not any(isinstance(t, Extract) for t in others)
    assert isinstance(agent, Extract)
    assert (agent.legacy, agent.key) == (columns[:3], ("agent_name",))
    assert (agent.into, agent.column, agent.required) == ("homes_agents", "agent_id", False)
    assert agent.names == {"agent_name": "name", "agent_phone": "phone", "agent_email": "email"}
    assert agent.conflicts == "most_frequent"
    assert written.notes[0] == (
        "agent_name, agent_phone, agent_email have 21 different groups of values in 200 rows: a "
        "table of their own, told apart by agent_name. 1 of its values has more than one group: "
        "the most frequent is kept, the others are archived."
    )
    before = connection.execute("SELECT * FROM homes ORDER BY id").fetchall()
    for number in range(5):
        do_phase(target, connection, plan, number)
    indexes = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'homes' AND indexname LIKE '%agent%'"
    ).fetchall()
    assert [text.rpartition(" USING ")[2] for (text,) in indexes] == ["btree (agent_id)"]
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    names = "id, agent_name, agent_phone, agent_email, owner_name, owner_street, price_text"
    again = f"SELECT {names}, price_currency FROM homes ORDER BY id"
    assert connection.execute(again.encode()).fetchall() == before


def test_a_group_that_is_unique_or_has_one_column_is_left_to_other_translations(
    connection: Connection,
) -> None:
    connection.execute(HOMES.encode())
    connection.execute("CREATE UNIQUE INDEX by_name ON homes (agent_name, id)")
    for columns in (("agent_name", "agent_email"), ("agent_email",)):
        plan = plan_of(scaffolded(connection, "homes", *columns))
        assert [type(t) for t in plan.translations] == [Lookup] * len(columns)
