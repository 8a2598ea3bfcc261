"""What the migration of a phase takes over from the models."""

from typing import Any

from django.db import models
from django.db.migrations.state import ModelState

from rollout.plan import AddCheck
from rollout.queries.plan_migrations import _mixed
from tests.engine.samples import BIGINT


def test_a_check_that_the_plan_adds_is_in_djangos_state_from_its_phase_on() -> None:
    (name,) = (s.name for s in BIGINT.plan.phases[3].steps if isinstance(s, AddCheck))
    own, other = (
        models.CheckConstraint(condition=models.Q(made_at__isnull=False), name=of)
        for of in (name, "of_django")
    )
    fields: list[tuple[str, Any]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("made_at", models.DateTimeField()),
    ]
    before = ModelState("shop", "thing", fields, {"constraints": []})
    now = ModelState("shop", "thing", fields, {"constraints": [own, other]})
    for phase, taken in ((1, []), (3, [own]), (4, [own])):
        mixed = _mixed(BIGINT.plan, phase, BIGINT.table.label, before, now)
        assert mixed.options["constraints"] == taken
