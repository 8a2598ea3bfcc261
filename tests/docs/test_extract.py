"""The example of the page about Extract runs as it stands there."""

import re

from config.home import ROOT
from rollout.checks.plans import check_plan
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.engine.actions import audit, do_phase, undo_phase

PAGE = (ROOT / "docs/extract.md").read_text()
ROWS = "SELECT id, agent_name, agent_phone, agent_email FROM shop_home ORDER BY id"


def test_the_example_extracts_agents_and_brings_their_columns_back(
    target: Target, connection: Connection
) -> None:
    blocks = re.findall(r"```python title=\"shop/homes.py\"\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile("\n".join(blocks), "docs/extract.md", "exec"), names)  # noqa: S102
    plan = names["PLAN"]
    assert isinstance(plan, Plan)
    assert check_plan(plan) == []
    connection.execute(
        "CREATE TABLE shop_home (id bigint PRIMARY KEY, agent_name varchar(60) NOT NULL,"
        " agent_phone text, agent_email text, updated_at timestamptz NOT NULL)"
    )
    connection.execute(
        "INSERT INTO shop_home VALUES (1, 'Ada', '1', 'ada@x.org', '2024-01-01'),"
        " (2, 'Ada', '2', 'ada@x.org', '2024-02-01'), (3, '', NULL, NULL, '2024-01-01'),"
        " (4, 'Bo', '3', NULL, '2024-01-01'), (5, 'Bo', '3', NULL, '2024-01-01')"
    )
    before = connection.execute(ROWS).fetchall()
    for number in range(5):
        do_phase(target, connection, plan, number)
        if number == 3:
            (of_agent,) = audit(target, plan).translations
            assert of_agent.categories == {"ok": 3, "lossy": 1, "both_null": 1}
    assert connection.execute(
        "SELECT name, phone, email FROM shop_agent ORDER BY 1"
    ).fetchall() == [
        ("Ada", "2", "ada@x.org"),
        ("Bo", "3", None),
    ]
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    assert connection.execute(ROWS).fetchall() == before
