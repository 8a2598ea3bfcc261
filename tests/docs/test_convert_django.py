"""The page's example that keeps a name, as a Django model: one field, whose type changes."""

import os
import re
from pathlib import Path
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict

from config import embedded
from rollout.engine.target import Target
from tests.docs.test_convert import PAGE
from tests.docs.test_own_plan import run
from tests.engine.actions import do_phase, undo_phase
from tests.engine.test_every_phase import schema_lines
from tests.support.django_projects import make_project

pytestmark = pytest.mark.slow

MODELS = """
from django.db import models


class Item(models.Model):
    amount = models.IntegerField()
"""
PHASES = """
PLAN = r.Plan(
    name="item-amounts",
    title="Wide amounts",
    description="Amounts become bigint.",
    tables=(ITEMS,),
    translations=(AMOUNT,),
    phases=(
        r.Phase(steps=(r.CompareSchemaStep(id="compare", description="Compare"),)),
        r.Phase(steps=(r.AddColumns(id="add", description="Add", table=ITEMS, of=(AMOUNT,)),)),
        r.Phase(
            steps=(
                r.StartDualWrite(id="dual", description="Dual write", table=ITEMS),
                r.WriteBoth(id="both", description="Write both"),
                r.Backfill(id="fill", description="Fill", table=ITEMS),
            )
        ),
        r.Phase(
            steps=(
                r.RequireValues(
                    id="require", description="Require", table=ITEMS, columns=("amount_wide",)
                ),
                r.CutOver(id="cut", description="Cut over", table=ITEMS),
            )
        ),
        r.Phase(
            steps=(
                r.FreezeLegacy(id="freeze", description="Freeze", table=ITEMS),
                r.ArchiveLegacy(id="archive", description="Archive", table=ITEMS),
                r.DropLegacy(id="drop", description="Drop", table=ITEMS),
            )
        ),
    ),
)
plans.register(PLAN)
"""
MIGRATIONS = (
    *("rollout", "makemigrations", "item-amounts", "--then"),
    *("makemigrations", "--check", "--dry-run", "--then", "migrate"),
)


def test_a_kept_name_is_one_field_whose_type_a_migration_changes_with_phase_3(
    tmp_path: Path, own_plans: None
) -> None:
    (example,) = re.findall(r"```python\n(ITEMS = .*?)```", PAGE, re.DOTALL)
    source = f"from rollout import plan as r\nfrom rollout.plan import plans\n\n{example}{PHASES}"
    project = make_project(tmp_path, models=MODELS, plan=source)
    live, new = (
        embedded.with_database(os.environ["DATABASE_URL"], f"items_{uuid4().hex}") for _ in "12"
    )
    for url in (live, new):
        embedded.create_database(url)
    project.manage(live, "makemigrations", "shop", "--then", "migrate")
    plan = run(source)["PLAN"]
    target = Target(conninfo_to_dict(live))
    schemas = {0: schema_lines(live)}
    with target.connect() as connection:
        connection.execute("INSERT INTO shop_item (amount) SELECT generate_series(1, 30)")
        for number in range(5):
            do_phase(target, connection, plan, number)
            schemas[number] = schema_lines(live)
            printed = project.manage(
                live, "rollout", "models", "item-amounts", "--phase", str(number)
            )
            field = "BigIntegerField" if number > 2 else "IntegerField"
            assert f"    amount = models.{field}()\n" in printed
            assert "amount_" not in printed
            if number == 3:
                project.write("shop/models.py", MODELS.replace("IntegerField", "BigIntegerField"))
                project.manage(live, *MIGRATIONS)
        # The models are the same, so the phase is named.
        project.manage(live, *MIGRATIONS[:3], "--phase", "4", *MIGRATIONS[3:])
        assert schema_lines(live) == schemas[4], "the phases were done"
        first, third, _fourth = (p.stem for p in sorted((tmp_path / "shop/migrations").glob("0*")))
        project.manage(new, "migrate")
        assert schema_lines(new) == schemas[4]
        for name, number in ((third, 3), (first, 0), (third, 3)):
            project.manage(new, "migrate", "shop", name)
            assert schema_lines(new) == schemas[number], name
        for number in reversed(range(5)):
            undo_phase(target, connection, plan, number)
        amounts = connection.execute("SELECT sum(amount), count(*) FROM shop_item").fetchone()
    assert amounts == (465, 30)
    for url in (live, new):
        embedded.drop_database(url)
