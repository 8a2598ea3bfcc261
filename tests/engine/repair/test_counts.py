"""Rows of a repair, counted by category before they are written."""

from rollout.engine.repair import count
from rollout.engine.repair.cells import SELECTABLE
from rollout.engine.target import Connection, Target
from tests.engine.actions import audit
from tests.engine.repairs import (
    COLUMNS,
    PLAN,
    one_of_each_category,
    repairing,
)


def test_categories_are_counted_as_the_audit_counts_them(
    target: Target, connection: Connection
) -> None:
    one_of_each_category(target, connection)
    categories = {t.column: t.categories for t in audit(target, PLAN).translations}
    for column in COLUMNS:
        for category in SELECTABLE:
            counted = count(connection, repairing(columns=[column], categories=[category]))
            assert counted.rows == categories[column].get(category, 0), (column, category)
