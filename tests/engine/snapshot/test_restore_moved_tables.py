"""Tables that a plan drops or renames, in a snapshot: what comes back is as it was then."""

from typing import Any

import pytest

from rollout import plan as r
from rollout.engine.snapshot.restore import replace_tables, verify
from rollout.engine.target import Target
from tests.engine.actions import NoControl
from tests.engine.snapshot.taken_dumps import taken
from tests.schemas import PARCEL, STATUS, MakeScenario, Scenario, plan_of

pytestmark = pytest.mark.slow

CONTROL = NoControl()
TABLES = """
CREATE ROLE "{database}";
CREATE TABLE "ol%d" (id serial PRIMARY KEY, note text);
CREATE TABLE "pri ces" (id serial PRIMARY KEY, note text);
ALTER TABLE "ol%d" OWNER TO "{database}"; ALTER TABLE "pri ces" OWNER TO "{database}";
GRANT SELECT ON "ol%d", "pri ces" TO pg_monitor;
INSERT INTO "ol%d" (note) VALUES ('a'), ('b'); INSERT INTO "pri ces" (note) VALUES ('c');
"""
RENAME = r.RenameTable(id="rename", description="Rename it", name="pri ces", to="price")
DROP = r.DropTable(id="drop", description="Drop it", name="ol%d")
NO_NAME = r.DropOldName(id="no-name", description="Drop the old name", of=RENAME)
PLAN = plan_of(STATUS, extra={3: (RENAME,), 4: (DROP, NO_NAME)})
RIGHTS = """
SELECT relname, relkind, relowner::regrole::text = current_database(), relacl::text
  FROM pg_class WHERE relname IN ('ol%d', 'pri ces', 'price') ORDER BY 1
"""


def state(parcels: Scenario) -> list[tuple[Any, ...]]:
    rows = 'SELECT note FROM "ol%d" UNION ALL SELECT note FROM "pri ces" ORDER BY 1'
    return [*parcels.application(RIGHTS), *parcels.application(rows)]


@pytest.mark.parametrize("phase", [2, 3], ids=["before the new name", "with both names"])
def test_a_snapshot_brings_tables_back_under_their_names_then_with_owner_and_rights(
    scenario: MakeScenario, newest: Target, phase: int
) -> None:
    parcels = scenario(PARCEL + TABLES, PLAN)
    parcels.carry_out(*range(phase + 1))
    before = state(parcels)
    with taken(parcels.target, PLAN) as (archive, recorded):
        copy = verify(parcels.target, PLAN, archive, recorded, CONTROL, snapshot=1, token=1)
        assert copy.differences == []
        for done in range(phase + 1, 5):
            parcels.carry_out(done)
            replace_tables(parcels.connection, PLAN, archive, recorded, CONTROL)
            assert state(parcels) == before, done
            parcels.application("INSERT INTO \"pri ces\" (note) VALUES ('d')")
            replace_tables(parcels.connection, PLAN, archive, recorded, CONTROL)
            parcels.carry_out(*range(phase + 1, done + 1))
        replace_tables(parcels.connection, PLAN, archive, recorded, CONTROL)
    parcels.take_back(*range(phase, -1, -1))
    assert parcels.application(RIGHTS)[0][1:] == parcels.application(RIGHTS)[1][1:]
