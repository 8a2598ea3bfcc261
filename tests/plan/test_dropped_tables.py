"""DropTable: a table leaves the application in a moment, and comes back whole."""

from dataclasses import replace

import psycopg
import pytest

from rollout import plan as r
from rollout.engine.snapshot.contents import relations_of
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.schemas import PARCEL, STATUS, MakeScenario, Scenario, plan_of

OLD = """
CREATE SCHEMA "o%ld";
CREATE TABLE "o%ld"."Old ""parcels" (
  id bigserial PRIMARY KEY, parent bigint REFERENCES "o%ld"."Old ""parcels",
  note text CHECK (note <> ''), parcel bigint);
CREATE INDEX ON "o%ld"."Old ""parcels" (note);
CREATE FUNCTION "o%ld".stamp() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.note := NEW.note || '.'; RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON "o%ld"."Old ""parcels"
  FOR EACH ROW EXECUTE FUNCTION "o%ld".stamp();
ALTER TABLE "o%ld"."Old ""parcels" ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON "o%ld"."Old ""parcels" USING (id > 0);
GRANT SELECT ON "o%ld"."Old ""parcels" TO pg_monitor;
INSERT INTO "o%ld"."Old ""parcels" (note) SELECT 'n' || g FROM generate_series(1, 40) g;
"""
DROP = r.DropTable(id="drop", description="Drop it", schema="o%ld", name='Old "parcels')
PLAN = plan_of(STATUS, extra={4: (DROP,)})
OLD_TABLE = '"o%ld"."Old ""parcels"'
ROWS = f"SELECT * FROM {OLD_TABLE} ORDER BY id"
ARCHIVE = 'rollout."parcels_o%ld.Old ""parcels_dropped"'


def refusals(scenario: Scenario, phase: int = 4) -> set[str]:
    return {item.name for item in scenario.failing(phase) if item.level == "blocks"}


def test_a_dropped_table_is_kept_whole_and_comes_back_as_it_was(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCEL + OLD, PLAN)
    assert parcels.check() == []
    schema, rows = schema_of(parcels.target), parcels.application(ROWS)
    parcels.carry_out(0, 1, 2, 3)
    names = {relation.name for relation in relations_of(parcels.connection, PLAN)}
    assert 'Old "parcels' in names, "the snapshot before phase 4 has its rows"
    parcels.carry_out(4)
    with pytest.raises(psycopg.errors.UndefinedTable):
        parcels.application(ROWS)
    assert parcels.application(f"SELECT * FROM {ARCHIVE} ORDER BY id") == rows
    # Again it changes nothing: it is there.
    parcels.application("SELECT 1")
    parcels.take_back(4)
    assert parcels.application(ROWS) == rows
    inserted = f"INSERT INTO {OLD_TABLE} (note) VALUES ('new') RETURNING id, note"
    assert parcels.application(inserted) == [(41, "new.")]
    parcels.take_back(3, 2, 1, 0)
    assert schema_of(parcels.target) == schema


def test_a_table_that_something_else_uses_is_not_dropped(
    scenario: MakeScenario, server: Target
) -> None:
    parcels = scenario(PARCEL + OLD, PLAN)
    parcels.carry_out(0, 1, 2, 3)
    assert refusals(parcels) == set()
    name = DROP.label
    for made, unmade, refusal in (
        (
            f"CREATE TABLE heir (old bigint REFERENCES {OLD_TABLE})",
            "DROP TABLE heir",
            "dependents of",
        ),
        (f"CREATE VIEW seen AS SELECT id FROM {OLD_TABLE}", "DROP VIEW seen", "dependents of"),
        (
            f"CREATE FUNCTION of_it({OLD_TABLE}) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            f"DROP FUNCTION of_it({OLD_TABLE})",
            "dependents of",
        ),
        (
            f"ALTER TABLE {OLD_TABLE} ADD CONSTRAINT out FOREIGN KEY (parcel) REFERENCES parcel",
            f"ALTER TABLE {OLD_TABLE} DROP CONSTRAINT out",
            "foreign keys of",
        ),
        (
            'CREATE TABLE drawer (id bigint DEFAULT nextval(\'"o%ld"."Old ""parcels_id_seq"\'))',
            "DROP TABLE drawer",
            "dependents of",
        ),
        (f"CREATE TABLE child () INHERITS ({OLD_TABLE})", "DROP TABLE child", "dependents of"),
        (
            f"CREATE PUBLICATION listed FOR TABLE {OLD_TABLE}",
            "DROP PUBLICATION listed",
            "publications of",
        ),
        (f"CREATE TABLE rollout.{OLD_TABLE.split('.')[1]} ()", "", "names in the archive of"),
    ):
        parcels.application(made)
        assert {item.partition(name)[0].strip(" ") for item in refusals(parcels)} <= {
            refusal,
            f"{refusal} the table",
        }, made
        assert refusals(parcels), made
        parcels.application(unmade or "DROP TABLE rollout." + OLD_TABLE.split(".")[1])
    assert refusals(parcels) == set()


def test_a_table_that_is_not_there_or_that_the_plan_changes_is_refused_before_phase_0(
    scenario: MakeScenario, newest: Target
) -> None:
    parcels = scenario(PARCEL, PLAN)
    assert refusals(parcels, 0) == {f"table {DROP.label}"}
    parcels.application(
        'CREATE SCHEMA "o%ld"',
        "CREATE TABLE every (id int) PARTITION BY LIST (id)",
        f"CREATE TABLE {OLD_TABLE} PARTITION OF every DEFAULT",
    )
    assert refusals(parcels, 0) == {f"table {DROP.label}"}
    own = replace(DROP, schema="public", name="parcel")
    parcels.plan = plan_of(STATUS, extra={4: (own,)})
    assert [problem.id for problem in parcels.check()] == ["rollout.E068"]


def test_a_rollback_stops_where_another_relation_has_the_tables_name(
    scenario: MakeScenario, newest: Target
) -> None:
    parcels = scenario(PARCEL + OLD, PLAN)
    parcels.carry_out(0, 1, 2, 3, 4)
    parcels.application(f"CREATE TABLE {OLD_TABLE} (id int)")
    with pytest.raises(psycopg.errors.RaiseException, match="Rename it, then retry"):
        parcels.take_back(4)
    parcels.application(f"DROP TABLE {OLD_TABLE}")
    parcels.take_back(4)
    assert parcels.application(f"SELECT count(*) FROM {OLD_TABLE}") == [(40,)]
    parcels.carry_out(4)
    # Two indexes of a schema cannot have one name.
    parcels.application(
        'CREATE TABLE "o%ld".other (id int)',
        'CREATE INDEX "Old ""parcels_note_idx" ON "o%ld".other (id)',
    )
    with pytest.raises(psycopg.errors.RaiseException, match="Rename that one, then retry"):
        parcels.take_back(4)
    parcels.application('DROP TABLE "o%ld".other')
    parcels.take_back(4)


def test_two_tables_that_bring_the_same_names_are_refused_before_phase_0(
    scenario: MakeScenario, newest: Target
) -> None:
    first, second = (
        r.DropTable(id=f"drop-{schema}", description="Drop it", schema=schema, name="old")
        for schema in ("a", "b")
    )
    parcels = scenario(
        f"{PARCEL} CREATE SCHEMA a; CREATE SCHEMA b;"
        "CREATE TABLE a.old (id int PRIMARY KEY); CREATE TABLE b.old (id int PRIMARY KEY)",
        plan_of(STATUS, extra={4: (first, second)}),
    )
    assert refusals(parcels, 0) == {
        "names in the archive of a.old",
        "names in the archive of b.old",
    }
    parcels.application("ALTER TABLE b.old RENAME CONSTRAINT old_pkey TO other_pkey")
    parcels.there_and_back()


def of_engine(role: str) -> str:
    """SQL of a role that owns what the plan changes, and not the table ``old``."""
    return (
        f'GRANT ALL ON DATABASE "{{database}}" TO {role}; GRANT ALL ON SCHEMA public TO {role};'
        f"{PARCEL} ALTER TABLE parcel OWNER TO {role}; CREATE TABLE old (id int);"
    )


def test_a_table_of_another_owner_is_refused_before_phase_0(
    newest: Target, owner: str, scenario: MakeScenario
) -> None:
    drop = r.DropTable(id="drop", description="Drop it", name="old")
    rename = r.RenameTable(id="rename", description="Rename it", name="old", to="new")
    for plan in (plan_of(STATUS, extra={4: (drop,)}), plan_of(STATUS, extra={3: (rename,)})):
        parcels = scenario(of_engine(owner), plan, user=owner)
        assert refusals(parcels, 0) == {"owner of the table old"}
