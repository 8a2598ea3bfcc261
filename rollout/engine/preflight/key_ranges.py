"""Integer keys of the plan's tables that have used up much of their range."""

from datetime import timedelta

from rollout.engine import integer_keys
from rollout.engine.preflight.item import Item, Scope
from rollout.engine.target import Connection
from rollout.plan.wide_columns import WideColumn

NAME = "range of integer keys"
# A rollout and the releases around it take weeks.
SOON = timedelta(days=180)
NEARLY_USED = 0.9


def ranges(connection: Connection, scope: Scope) -> Item:
    """When each key runs out: those that the plan widens, and others that have used up much."""
    plan = scope.declared or scope.plan
    widened = {
        f"{t.table.label}.{column}"
        for t in plan.translations
        if isinstance(t, WideColumn)
        for column in t.legacy
    }
    keys = integer_keys.read(connection, [table.label for table in plan.tables])
    notable = [key for key in keys if key.is_notable or key.name in widened or not key.is_read]
    if not notable:
        return Item(
            NAME,
            "pass",
            f"No integer key of {scope.tables} has used more than "
            f"{100 * integer_keys.NOTABLE_SHARE:.0f} % of its range.",
        )
    evidence = " ".join(key.sentences for key in notable)
    urgent = [
        key
        for key in notable
        if key.share >= NEARLY_USED or (key.left is not None and key.left <= SOON)
    ]
    if not urgent:
        is_unknown = not any(key.is_read for key in notable)
        return Item(NAME, "unknown" if is_unknown else "info", evidence)
    advice = (
        "Finish phase 4 before: a wide value can be written only after it."
        if all(key.name in widened for key in urgent)
        else "Widen it before, by a plan of its own with a WidenKey."
    )
    return Item(NAME, "warns", evidence, advice)
