"""Extract over keys, partitions, names and types of all kinds, forward and back."""

from dataclasses import replace

import pytest

from rollout import plan as r
from rollout.engine.target import Target
from tests.engine.test_every_phase import schema_of
from tests.schemas import MakeScenario, plan_of, table

ODD = """
CREATE SCHEMA "my {shop}";
CREATE TABLE "my {shop}"."Ho me" (
  "Id" uuid PRIMARY KEY, "Agent %s" text, "E-mail" varchar(80), "order" text);
INSERT INTO "my {shop}"."Ho me"
  SELECT gen_random_uuid(), 'it''s ' || g % 3, 'a' || g % 3 || E'\\\\@x', 'o'
    FROM generate_series(1, 30) g;
"""
ODD_TABLE = r.Table(
    name="Ho me",
    schema="my {shop}",
    key=("Id",),
    columns={
        "Id": r.Column("uuid", null=False),
        "Agent %s": r.Column("text"),
        "E-mail": r.Column("character varying(80)"),
        "order": r.Column("text"),
    },
)
ODD_AGENT = r.Extract(
    table=ODD_TABLE,
    legacy=("Agent %s", "E-mail"),
    into="Ag {ents}",
    column="Agent id",
    key=("E-mail",),
    columns={"Agent %s": "Na me", "E-mail": "select"},
    id_type="integer",
)
PARTS = """
CREATE TABLE visit (
  region integer, id bigint, guide text, guide_code integer, since date, rate numeric(8,2),
  PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1);
CREATE TABLE visit_2 PARTITION OF visit FOR VALUES IN (2);
INSERT INTO visit SELECT 1 + g % 2, g, 'G' || g % 4, nullif(g % 4, 3), '2024-01-01'::date + g % 4,
       (g % 4) * 1.5 FROM generate_series(1, 40) g;
"""
GUIDE = r.Extract(
    table=replace(
        table(
            "visit",
            key=("region", "id"),
            region=r.Column("integer", null=False),
            id=r.Column("bigint", null=False),
            guide="text",
            guide_code="integer",
            since="date",
            rate="numeric(8,2)",
        ),
        partitioned=True,
    ),
    legacy=("guide", "guide_code", "since", "rate"),
    into="guide",
    column="guide_id",
    key=("guide_code", "since"),
    id_type="integer",
)


def test_quoted_names_and_uuid_keys_are_carried_forward_and_back(
    scenario: MakeScenario, server: Target
) -> None:
    # The scenario's own braces are those of the database's name.
    homes = scenario(ODD.replace("{shop}", "shop"), plan_of(_in_shop(ODD_AGENT)))
    assert homes.check() == []
    rows = 'SELECT "Id", "Agent %s", "E-mail" FROM "my shop"."Ho me" ORDER BY 1'
    schema, before = schema_of(homes.target), homes.application(rows)
    homes.carry_out(0, 1, 2, 3)
    assert homes.application(
        'SELECT count(DISTINCT a."select"), count(*) FROM "my shop"."Ag {ents}" AS a'
    ) == [(3, 3)]
    homes.application('UPDATE "my shop"."Ag {ents}" SET "Na me" = \'x {y} %\'')
    assert homes.application('SELECT DISTINCT "Agent %s" FROM "my shop"."Ho me"') == [("x {y} %",)]
    homes.application(
        'UPDATE "my shop"."Ho me" SET "Agent %s" = \'it\'\'s \' || substr("E-mail", 2, 1)'
    )
    homes.carry_out(4)
    homes.take_back(4, 3, 2, 1, 0)
    assert homes.application(rows) == before
    assert schema_of(homes.target) == schema


def _in_shop(extract: r.Extract) -> r.Extract:
    return replace(extract, table=replace(extract.table, schema="my shop"))


def test_a_composite_key_of_a_partitioned_table_is_carried_forward_and_back(
    scenario: MakeScenario, newest: Target
) -> None:
    visits = scenario(PARTS, plan_of(GUIDE))
    assert visits.check() == []
    rows = "SELECT region, id, guide, guide_code, since, rate FROM visit ORDER BY 1, 2"
    before = visits.application(rows)
    visits.carry_out(0, 1, 2, 3)
    assert visits.audit().mismatched == 0
    assert visits.application("SELECT count(*) FROM guide") == [(4,)]
    # Another session's way to write dates gives no other row.
    assert visits.application(
        "UPDATE visit SET guide = 'Ann' WHERE guide_code = 1",
        "SELECT guide, count(*) FROM guide WHERE guide_code = 1 GROUP BY 1",
        DateStyle="SQL, DMY",
    ) == [("Ann", 1)]
    visits.application("UPDATE guide SET guide = 'G1' WHERE guide_code = 1")
    assert visits.application(rows) == before
    visits.carry_out(4)
    visits.take_back(4, 3, 2, 1, 0)
    assert visits.application(rows) == before


@pytest.mark.parametrize("type_", ["citext", "json", "xml"])
def test_values_without_equality_are_refused(
    scenario: MakeScenario, newest: Target, type_: str
) -> None:
    of = table("home", agent=type_)
    extract = r.Extract(
        table=of, legacy=("agent",), into="agents", column="agent_id", key=("agent",)
    )
    homes = scenario("CREATE TABLE home (id bigint PRIMARY KEY, agent text)", plan_of(extract))
    assert any(type_ in message.msg for message in homes.check())
