"""When a key that a plan widens runs out, by what the watchdog has seen of its sequence.

No column of the table has to tell when rows were made.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import FloatField
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

from rollout.engine.integer_keys import FARTHEST, SHORTEST, IntegerKey, Rate
from rollout.models import Rollout
from rollout.plan.narrow_columns import last_of
from rollout.plan.plan import Plan
from rollout.plan.wide_columns import WideColumn

# The present rate is that of the last week: an hour, or a day, may be unlike others.
SPAN = timedelta(days=7)


def widened_key(
    rollout: Rollout, plan: Plan, at: datetime, tables: Mapping[str, Any]
) -> IntegerKey | None:
    """The key of the plan that runs out first; ``tables`` are those of the newest reading.

    None where the plan widens none that a sequence fills.
    """
    keys = [
        _key(rollout, t, at, drawn)
        for t in plan.translations
        if isinstance(t, WideColumn) and t.legacy == t.table.key[:1]
        if (drawn := tables.get(t.table.label, {}).get("drawn")) is not None
    ]
    return min(keys, key=lambda key: (_left(key), -key.share), default=None)


def _left(key: IntegerKey) -> timedelta:
    return FARTHEST if key.left is None else key.left


def _key(rollout: Rollout, column: WideColumn, at: datetime, drawn: float) -> IntegerKey:
    table, (name,) = column.table, column.legacy
    of_table = KeyTextTransform("drawn", KeyTransform(table.label, "tables"))
    first = (
        rollout.database_readings.filter(at__gte=at - SPAN)
        .annotate(drawn=Cast(of_table, FloatField()))
        .filter(drawn__isnull=False)
        .order_by("at")
        .values_list("at", "drawn")
        .first()
    )
    rate = None
    if first is not None and at - first[0] >= SHORTEST:
        per_day = (drawn - first[1]) / ((at - first[0]) / timedelta(days=1))
        rate = Rate(max(per_day, 0.0), first[0], "its sequence")
    declared = table.columns[name].type
    return IntegerKey(table, name, declared, last_of(column), int(drawn), rate, at)
