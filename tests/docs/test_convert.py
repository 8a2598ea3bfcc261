"""The examples of the pages about Convert and LegacyView run as they stand there."""

import re

from config.home import ROOT
from rollout.checks.plans import check_plan
from rollout.engine.target import Connection, Target
from rollout.plan import LegacyView, Plan
from tests.engine.actions import audit, do_phase, undo_phase
from tests.engine.sample_plans import before_drop

PAGE = (ROOT / "docs/convert.md").read_text()
VIEW = (ROOT / "docs/legacy-view.md").read_text()


def test_the_examples_convert_two_columns_show_them_to_reports_and_bring_them_back(
    target: Target, connection: Connection
) -> None:
    blocks = re.findall(r"```python title=\"shop/prices.py\"\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile("\n".join(blocks), "docs/convert.md", "exec"), names)  # noqa: S102
    (view,) = re.findall(
        r"```python title=\"shop/prices.py, in phase 4\"\n(.*?)```", VIEW, re.DOTALL
    )
    exec(compile(view, "docs/legacy-view.md", "exec"), names)  # noqa: S102
    plan, step = names["PLAN"], names["OFFERS_FOR_REPORTS"]
    assert isinstance(plan, Plan)
    assert isinstance(step, LegacyView)
    plan = before_drop(plan, step)
    assert check_plan(plan) == []
    connection.execute("\n".join(re.findall(r"```sql\n(.*?)```", VIEW, re.DOTALL)).encode())
    connection.execute(
        "CREATE TABLE shop_offer (id bigint PRIMARY KEY, price text,"
        " full_name varchar(60) NOT NULL)"
    )
    connection.execute(
        "INSERT INTO shop_offer VALUES"
        " (1, '7.50', 'Ada King'), (2, ' 7.5', 'Bo'), (3, 'n/a', 'C D')"
    )
    rows = "SELECT * FROM shop_offer ORDER BY id"
    before = connection.execute(rows).fetchall()
    for number in range(5):
        do_phase(target, connection, plan, number)
        if number == 3:
            by_column = {t.column: t.categories for t in audit(target, plan).translations}
            assert by_column["price_cents"] == {"ok": 1, "lossy": 1, "unconvertible": 1}
    after = "SELECT price_cents, first_name, last_name FROM shop_offer ORDER BY id"
    assert connection.execute(after).fetchall() == [
        (750, "Ada", "King"),
        (750, "Bo", ""),
        (None, "C", "D"),
    ]
    assert connection.execute("SELECT * FROM reports.shop_offer ORDER BY id").fetchall() == [
        (1, "7.50", "Ada King"),
        (2, "7.50", "Bo"),
        (3, None, "C D"),
    ]
    for number in reversed(range(5)):
        undo_phase(target, connection, plan, number)
    columns = "SELECT id, price, full_name FROM shop_offer ORDER BY id"
    assert connection.execute(columns).fetchall() == before
