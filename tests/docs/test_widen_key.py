"""The example of the page about WidenKey runs as it stands there."""

import re

from config.home import ROOT
from rollout.checks.plans import check_plan
from rollout.engine.target import Connection, Target
from rollout.plan import Plan
from tests.engine.actions import do_phase, undo_phase

PAGE = (ROOT / "docs/widen-key.md").read_text()
TYPES = """
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname)
 FROM pg_attribute WHERE attrelid IN ('desk_ticket'::regclass, 'desk_line'::regclass)
   AND attname LIKE '%id' AND attnum > 0 AND NOT attisdropped"""


def test_the_example_widens_a_key_and_what_refers_to_it_and_brings_them_back(
    target: Target, connection: Connection
) -> None:
    (example,) = re.findall(r"```python title=\"desk/tickets.py\"\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "docs/widen-key.md", "exec"), names)  # noqa: S102
    plan = names["PLAN"]
    assert isinstance(plan, Plan)
    assert check_plan(plan) == []
    connection.execute(
        "CREATE TABLE desk_ticket (id serial PRIMARY KEY, parent_id integer REFERENCES desk_ticket)"
    )
    connection.execute(
        "CREATE TABLE desk_line (ticket_id integer REFERENCES desk_ticket, number integer,"
        " PRIMARY KEY (ticket_id, number))"
    )
    connection.execute("INSERT INTO desk_ticket (parent_id) VALUES (NULL), (1), (2)")
    connection.execute("INSERT INTO desk_line VALUES (1, 1), (3, 1)")

    def types() -> object:
        return connection.execute(TYPES).fetchone()

    before = types()
    for number in range(5):
        do_phase(target, connection, plan, number)
    assert types() == ("id bigint, parent_id bigint, ticket_id bigint",)
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    assert types() == before
